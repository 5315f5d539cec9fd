//! Version: who this is. The kubelet refuses to start unless `version` is exactly 0.1.0.
//!
//! Never: another `runtime_name`; it is part of every container id that the cluster has stored.

use cri_api::v1;

/// The version of the kubelet's runtime API, which is not ours.
const KUBELET_API: &str = "0.1.0";

pub(in crate::cri) fn handle() -> v1::VersionResponse {
    v1::VersionResponse {
        version: KUBELET_API.to_owned(),
        runtime_name: "taffrail".to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: "v1".to_owned(),
    }
}
