//! Finds the two static programs that are embedded in the daemon: given by TAFFRAIL_SHIM_BIN and
//! TAFFRAIL_DEMO_BIN (the Makefile does), else built here by a cargo call of its own, since one call for all
//! would unify features and pull tokio into the shim.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "x86_64-unknown-linux-musl";

fn build(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..");
    let target = out.join("static");
    let status = Command::new(env::var("CARGO")?)
        .current_dir(&workspace)
        .args(["build", "-q", "-p", "shim", "-p", "demo", "--profile", "shim", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()?;
    if !status.success() {
        return Err("the static programs could not be built: see above".into());
    }
    Ok(target.join(TARGET).join("shim"))
}

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["../shim", "../protocol", "../logs", "demo", "../Cargo.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let given = |name: &str| {
        println!("cargo::rerun-if-env-changed={name}");
        env::var_os(name).map(PathBuf::from)
    };
    let (shim, demo) = match (given("TAFFRAIL_SHIM_BIN"), given("TAFFRAIL_DEMO_BIN")) {
        (Some(shim), Some(demo)) => (shim, demo),
        _ => {
            let folder = build(Path::new(&env::var("OUT_DIR")?))?;
            (folder.join("taffrail-shim"), folder.join("taffrail-demo"))
        }
    };
    println!("cargo::rerun-if-changed={}", shim.display());
    println!("cargo::rerun-if-changed={}", demo.display());
    println!("cargo::rustc-env=TAFFRAIL_SHIM_BIN={}", shim.display());
    println!("cargo::rustc-env=TAFFRAIL_DEMO_BIN={}", demo.display());
    Ok(())
}
