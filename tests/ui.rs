//! What the macros accept, and what they say about each mistake, at which token.
//!
//! `TRYBUILD=overwrite cargo test -p almanet-tests --test ui` writes the expected output anew: read it as a user would.

#[test]
fn macros_report_mistakes_at_the_token() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
