#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| almanet_fuzz::session(data));
