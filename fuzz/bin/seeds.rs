//! Writes the valid inputs and the regressions of each target to its corpus, where cargo-fuzz begins.

#![forbid(unsafe_code)]

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in almanet_fuzz::TARGETS {
        let corpus = package.join("corpus").join(target.name);
        fs::create_dir_all(&corpus)?;
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number}")), seed)?;
        }
        let Ok(regressions) = fs::read_dir(package.join("regressions").join(target.name)) else {
            continue;
        };
        for regression in regressions {
            let regression = regression?;
            fs::copy(regression.path(), corpus.join(regression.file_name()))?;
        }
    }
    Ok(())
}
