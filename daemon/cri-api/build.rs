//! Generates Rust for `proto/cri.proto` and `proto/control.proto` into the build folder: clients and servers.
//! protox reads the files in pure Rust, so no protoc is needed. The descriptor set is kept for the test that
//! compares it with the interface's own.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 2] = ["proto/cri.proto", "proto/control.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    #[expect(clippy::disallowed_methods, reason = "a build product: a torn one is built again")]
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().build_client(true).build_server(true).compile_fds(descriptors)?;
    Ok(())
}
