//! Generates the wire's Rust from `proto/shim.proto`: a sync method table for the shim's own loop (feature
//! `server`) and an async client for the daemon (feature `client`); and the keeper's packets from
//! `proto/keeper.proto`. Pure Rust: no protoc is needed.

#![allow(clippy::disallowed_methods, reason = "a build folder needs no atomic files")]
#![allow(clippy::print_stdout, reason = "cargo is spoken to by printing")]

use std::{env, error::Error, fs, path::Path};

use ttrpc_codegen::{Codegen, Customize, ProtobufCustomize};

fn generate(into: &Path, asynchronous: bool) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(into)?;
    Codegen::new()
        .out_dir(into)
        .input("proto/shim.proto")
        .input("proto/keeper.proto")
        .include("proto")
        .rust_protobuf()
        .customize(Customize { async_all: asynchronous, gen_mod: true, ..Default::default() })
        .rust_protobuf_customize(ProtobufCustomize::default().lite_runtime(true).gen_mod_rs(false))
        .run()?;
    for file in ["shim.rs", "shim_ttrpc.rs", "keeper.rs"] {
        let path = into.join(file);
        let text = fs::read_to_string(&path)?;
        fs::write(&path, includable(&text))?;
    }
    Ok(())
}

/// Without the inner attributes and inner docs, which a file that is `include!`d must not have.
fn includable(text: &str) -> String {
    let inner = |line: &&str| !line.starts_with("#![") && !line.starts_with("//!");
    text.lines().filter(inner).map(|line| format!("{line}\n")).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = env::var("OUT_DIR")?;
    generate(&Path::new(&out).join("sync"), false)?;
    generate(&Path::new(&out).join("async"), true)?;
    Ok(())
}
