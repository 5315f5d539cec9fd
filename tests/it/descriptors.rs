//! Our `cri.proto` against the descriptors of `k8s.io/cri-api`: every number, name, type, label, enum value and call.
//! It needs Go; without it the test is skipped.
//!
//! Never: compares comments.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use tests::host;

/// Where Go is often found besides PATH.
const GO: [&str; 2] = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"];

fn go() -> Option<PathBuf> {
    host::find("go").or_else(|| GO.map(PathBuf::from).into_iter().find(|path| path.is_file()))
}

/// As Go's `Kind` prints it.
fn kind(kind: Type) -> String {
    kind.as_str_name().trim_start_matches("TYPE_").to_lowercase()
}

fn enums(list: &[EnumDescriptorProto], prefix: &str, out: &mut BTreeSet<String>) {
    for one in list {
        for value in &one.value {
            out.insert(format!("enum\t{prefix}{}\t{}\t{}", one.name(), value.number(), value.name()));
        }
    }
}

fn messages(list: &[DescriptorProto], prefix: &str, out: &mut BTreeSet<String>) {
    for message in list {
        let name = format!("{prefix}{}", message.name());
        if !message.options.as_ref().is_some_and(|options| options.map_entry()) {
            out.insert(format!("message\t{name}"));
        }
        for field in &message.field {
            let label = if field.label() == Label::Repeated { "many" } else { "one" };
            out.insert(format!(
                "field\t{name}\t{}\t{}\t{}\t{}\t{label}",
                field.number(),
                field.name(),
                kind(field.r#type()),
                field.type_name().trim_start_matches('.'),
            ));
        }
        enums(&message.enum_type, &format!("{name}."), out);
        messages(&message.nested_type, &format!("{name}."), out);
    }
}

fn ours() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(cri_api::DESCRIPTORS).unwrap();
    let file = set.file.iter().find(|file| file.package() == "runtime.v1").unwrap();
    let mut out = BTreeSet::new();
    messages(&file.message_type, "runtime.v1.", &mut out);
    enums(&file.enum_type, "runtime.v1.", &mut out);
    for service in &file.service {
        for call in &service.method {
            let name = |text: &str| text.trim_start_matches('.').to_owned();
            out.insert(format!(
                "rpc\t{}\t{}\t{}\t{}\t{}",
                service.name(),
                call.name(),
                name(call.input_type()),
                name(call.output_type()),
                call.server_streaming()
            ));
        }
    }
    out
}

#[test]
fn our_interface_is_the_kubelets() {
    let Some(go) = go() else { return host::skip("go", "no go here to ask k8s.io/cri-api") };
    let module = host::workspace().join("tests/tools/cri-descriptors");
    let out =
        Command::new(go).args(["run", "."]).current_dir(module).env("GOFLAGS", "-mod=mod").output().unwrap();
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return host::skip("cri-descriptors", &format!("the Go program cannot be run: {}", said.trim()));
    }
    let theirs: BTreeSet<String> =
        String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
    let ours = ours();
    assert!(theirs.len() > 500, "{} lines", theirs.len());
    let missing: Vec<&String> = theirs.difference(&ours).collect();
    let surplus: Vec<&String> = ours.difference(&theirs).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:#?}\nsurplus {surplus:#?}");
}
