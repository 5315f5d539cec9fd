//! Status: is the runtime ready, is the network, which handlers are there.
//!
//! Never: a condition that is not true.

use std::collections::HashMap;

use cri_api::v1;

use crate::{container::Features, cri::Identity, network::Networks, oci::Handlers};

pub(in crate::cri) async fn handle(
    identity: &Identity,
    handlers: &Handlers,
    features: &Features,
    networks: &Networks,
    request: v1::StatusRequest,
) -> v1::StatusResponse {
    let runtime = match handlers.default_is_there() {
        Ok(()) => condition("RuntimeReady", true, "", ""),
        Err(name) => condition(
            "RuntimeReady",
            false,
            "DefaultRuntimeMissing",
            &format!("the default runtime {name} is not installed, or runtimes.{name}.path is wrong"),
        ),
    };
    let network = match networks.ready() {
        Ok(message) => condition("NetworkReady", true, "", &message),
        Err(why) => condition("NetworkReady", false, why.reason, &why.message),
    };
    // The one without a name is the default.
    let mut runtime_handlers = Vec::new();
    for name in std::iter::once("").chain(handlers.names()) {
        let recursive = match handlers.resolve(name) {
            Ok(runtime) => features.recursive_read_only(handlers, &runtime).await,
            Err(_) => false,
        };
        runtime_handlers.push(handler(name, recursive));
    }
    let mut info = HashMap::new();
    if request.verbose {
        let config = serde_json::json!({
            "sandboxImage": "",
            "stateDir": identity.state,
            "rootDir": identity.root,
            "instance": identity.instance,
        });
        info.insert("config".to_owned(), config.to_string());
    }
    v1::StatusResponse {
        status: Some(v1::RuntimeStatus { conditions: vec![runtime, network] }),
        info,
        runtime_handlers,
        features: Some(v1::RuntimeFeatures {
            supplemental_groups_policy: true,
            ..v1::RuntimeFeatures::default()
        }),
    }
}

fn handler(name: &str, recursive_read_only_mounts: bool) -> v1::RuntimeHandler {
    let features = v1::RuntimeHandlerFeatures { recursive_read_only_mounts, user_namespaces: false };
    v1::RuntimeHandler { name: name.to_owned(), features: Some(features) }
}

fn condition(kind: &str, status: bool, reason: &str, message: &str) -> v1::RuntimeCondition {
    v1::RuntimeCondition {
        r#type: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
