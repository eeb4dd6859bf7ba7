//! The short name of a pod template.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Characters that are unlikely to spell a word.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// 32-bit FNV-1a.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// Returns the `pod-template-hash` of a template.
///
/// Equality of templates is decided by comparing them; this only has to be short, stable within a release and different
/// for different templates most of the time. `collisions` is raised where it was not.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(template).expect("a template has only string keys");
    bytes.extend(collisions.into_iter().flat_map(i32::to_le_bytes));
    let hash = bytes.iter().fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_PRIME));
    hash.to_string().bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    #[test]
    fn different_templates_and_collisions_have_different_names() {
        let plain = PodTemplateSpec::default();
        let named = PodTemplateSpec {
            metadata: Some(ObjectMeta { name: Some("x".to_owned()), ..ObjectMeta::default() }),
            spec: None,
        };
        let all = [template_hash(&plain, None), template_hash(&named, None), template_hash(&plain, Some(1))];
        assert_eq!(all[0], template_hash(&plain, None));
        assert!(all[0] != all[1] && all[0] != all[2], "{all:?}");
        assert!(all.iter().all(|name| name.bytes().all(|byte| ALPHABET.contains(&byte))), "{all:?}");
    }
}
