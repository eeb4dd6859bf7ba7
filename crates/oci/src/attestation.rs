//! What is attested of an image, beside it in an index.
//!
//! Specs: BuildKit, docs/attestations/attestation-storage.md (the form with an image config); in-toto Statement v0.1.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Descriptor, DiffId, Digest, ImageConfig, Index, Manifest, MediaType, Platform, RootFs, parse_json,
};

/// Annotation of a descriptor: what it is to another one.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Annotation of a descriptor: which other one.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION_MANIFEST: &str = "attestation-manifest";
/// Annotation of a layer: what its statement says.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_V01: &str = "https://in-toto.io/Statement/v0.1";

/// Something that is said of artifacts. Spec: in-toto, spec/v0.1.0 Statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is said of.
    pub subject: Vec<Subject>,
    /// What kind of thing is said.
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

/// An artifact that something is said of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// A package URL, or `_`.
    pub name: String,
    /// Hexadecimal digests by algorithm.
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// Predicate of a bill of materials.
    pub const SPDX: &'static str = "https://spdx.dev/Document";
    /// Predicate of SLSA provenance, version 0.2.
    pub const PROVENANCE_V02: &'static str = "https://slsa.dev/provenance/v0.2";
    /// Predicate of SLSA provenance, version 1.
    pub const PROVENANCE_V1: &'static str = "https://slsa.dev/provenance/v1";

    /// Says something of a manifest under each of its names. Compat: BuildKit, one without a name is `_`.
    pub fn new(predicate_type: &str, predicate: Value, names: &[String], manifest: &Digest) -> Self {
        let nameless = ["_".to_owned()];
        let names = if names.is_empty() { &nameless[..] } else { names };
        let digest = BTreeMap::from([("sha256".to_owned(), manifest.hex())]);
        Self {
            kind: STATEMENT_V01.to_owned(),
            subject: names
                .iter()
                .map(|name| Subject { name: name.clone(), digest: digest.clone() })
                .collect(),
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }
}

/// An index of images and of what is attested of them, with all documents but the images' own. It lists one image, or one for each
/// platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The index.
    pub index: Vec<u8>,
    /// Manifests of attestations, as the index lists them.
    pub manifests: Vec<(Descriptor, Vec<u8>)>,
    /// What those manifests need: configs and statements.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// Returns whether an index lists something as attestations of an image.
pub fn is_attestation(listed: &Descriptor) -> bool {
    listed.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == ATTESTATION_MANIFEST)
}

/// Returns whether an index lists nothing but an image and its attestations.
pub fn is_only_of(index: &Index, image: &Digest) -> bool {
    let of_it = |listed: &Descriptor| {
        is_attestation(listed)
            && listed.annotations.get(REFERENCE_DIGEST).is_some_and(|digest| *digest == image.to_string())
    };
    let images = index.manifests.iter().filter(|listed| listed.digest == *image).count();
    images == 1 && index.manifests.iter().all(|listed| listed.digest == *image || of_it(listed))
}

/// Returns what kind of thing a statement says, as a manifest describes the statement.
pub fn predicate_type(statement: &Descriptor) -> Option<&str> {
    statement.annotations.get(PREDICATE_TYPE).map(String::as_str)
}

impl Attested {
    /// Puts an image, as an index describes it, and statements about it into an index. Without statements it is alone.
    pub fn new(image: Descriptor, statements: &[Statement], annotations: BTreeMap<String, String>) -> Self {
        let mut index = Self::new_index(annotations);
        let target = image.digest;
        index.manifests.push(image);
        let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
        if !statements.is_empty() {
            let (listed, manifest) = attestation(statements, &target, &mut blobs);
            index.manifests.push(listed.clone());
            manifests.push((listed, manifest));
        }
        Self { index: to_json(&index), manifests, blobs }
    }

    /// Puts several into one index: the images first, in this order. Compat: BuildKit's order. What the parts' indexes say of themselves
    /// is left out.
    pub fn join(parts: Vec<Self>, annotations: BTreeMap<String, String>) -> Self {
        let mut joined = Self::new_index(annotations);
        let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
        let mut said = Vec::new();
        for part in parts {
            let listed = part.listed();
            joined.manifests.extend(listed.iter().filter(|listed| !is_attestation(listed)).cloned());
            said.extend(listed.into_iter().filter(is_attestation));
            manifests.extend(part.manifests);
            blobs.extend(part.blobs);
        }
        joined.manifests.extend(said);
        Self { index: to_json(&joined), manifests, blobs }
    }

    /// Reads an index with everything that it lists beside images. `None` if it lists an image that is not to be had, says something of one
    /// that it does not list, or something else is not to be had.
    pub fn read(
        index: Vec<u8>,
        has: impl Fn(&Digest) -> bool,
        mut read: impl FnMut(&Descriptor) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let parsed: Index = parse_json(&index).ok()?;
        let (said, images): (Vec<_>, Vec<_>) = parsed.manifests.into_iter().partition(is_attestation);
        if images.is_empty() || !images.iter().all(|image| has(&image.digest)) {
            return None;
        }
        let known: BTreeSet<String> = images.iter().map(|image| image.digest.to_string()).collect();
        let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
        for listed in said {
            listed.annotations.get(REFERENCE_DIGEST).filter(|of| known.contains(*of))?;
            let bytes = read(&listed)?;
            let manifest: Manifest = parse_json(&bytes).ok()?;
            for blob in manifest.layers.into_iter().chain([manifest.config]) {
                let bytes = read(&blob)?;
                blobs.push((blob, bytes));
            }
            manifests.push((listed, bytes));
        }
        Some(Self { index, manifests, blobs })
    }

    fn new_index(annotations: BTreeMap<String, String>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(MediaType::new(MediaType::OCI_INDEX)),
            manifests: Vec::new(),
            annotations,
            other: Map::new(),
        }
    }

    fn listed(&self) -> Vec<Descriptor> {
        parse_json::<Index>(&self.index).map(|index| index.manifests).unwrap_or_default()
    }

    /// Returns the manifests of the images, as the index lists them; one for several platforms once.
    pub fn images(&self) -> Vec<Descriptor> {
        let mut seen = BTreeSet::new();
        let listed = self.listed().into_iter().filter(|listed| !is_attestation(listed));
        listed.filter(|image| seen.insert(image.digest)).collect()
    }

    /// Returns whether the index lists an image.
    pub fn lists(&self, image: &Digest) -> bool {
        self.images().iter().any(|listed| listed.digest == *image)
    }

    /// Returns the same for the same images under other manifests, as they have when their layers are compressed: what is said of an old
    /// one is said of the new one then. Only digest and size of those are taken over.
    pub fn moved(&self, moves: &[(Digest, Descriptor)]) -> Self {
        let moves = moves.iter().filter(|(from, image)| *from != image.digest);
        let images: Renamed = moves.map(|(from, image)| (*from, (image.digest, image.size))).collect();
        if images.is_empty() {
            return self.clone();
        }
        let mut renamed = images.clone();
        let mut blobs = Vec::new();
        // Statements first: configs list them.
        let is_statement = |blob: &&(Descriptor, Vec<u8>)| blob.0.media_type.as_str() == STATEMENT;
        for (descriptor, bytes) in self.blobs.iter().filter(is_statement) {
            let bytes = resubject(bytes, &images).unwrap_or_else(|| bytes.clone());
            blobs.push((note(&mut renamed, descriptor, &bytes), bytes));
        }
        for (descriptor, bytes) in self.blobs.iter().filter(|blob| !is_statement(blob)) {
            let bytes = relist(bytes, &renamed).unwrap_or_else(|| bytes.clone());
            blobs.push((note(&mut renamed, descriptor, &bytes), bytes));
        }
        let point = |listed: &mut Descriptor| {
            let of = listed.annotations.get_mut(REFERENCE_DIGEST);
            let to = of.as_ref().and_then(|of| images.get(&of.parse().ok()?));
            if let (Some(of), Some((to, _))) = (of, to) {
                *of = to.to_string();
            }
        };
        let mut manifests = Vec::new();
        for (descriptor, bytes) in &self.manifests {
            let bytes = redirect(bytes, &renamed).unwrap_or_else(|| bytes.clone());
            let mut descriptor = note(&mut renamed, descriptor, &bytes);
            point(&mut descriptor);
            manifests.push((descriptor, bytes));
        }
        let mut index = self.index.clone();
        if let Ok(mut parsed) = parse_json::<Index>(&self.index) {
            for listed in &mut parsed.manifests {
                rename(listed, &renamed);
                point(listed);
            }
            index = to_json(&parsed);
        }
        Self { index, manifests, blobs }
    }

    /// Returns the statements about an image, those that can be read.
    pub fn statements(&self, image: &Digest) -> Vec<Statement> {
        let listed = self.listed();
        let is_of_it = |manifest: &Digest| {
            let mut of = listed.iter().filter(|listed| listed.digest == *manifest);
            of.any(|listed| listed.annotations.get(REFERENCE_DIGEST) == Some(&image.to_string()))
        };
        let manifests = self.manifests.iter().filter(|(listed, _)| is_of_it(&listed.digest));
        let manifests = manifests.filter_map(|(_, bytes)| parse_json::<Manifest>(bytes).ok());
        let is_statement = |layer: &Descriptor| layer.media_type.as_str() == STATEMENT;
        let layers = manifests.flat_map(|manifest| manifest.layers).filter(is_statement);
        let find = |layer: Descriptor| self.blobs.iter().find(|(blob, _)| blob.digest == layer.digest);
        layers.filter_map(find).filter_map(|(_, bytes)| parse_json(bytes).ok()).collect()
    }

    /// Returns what the index is in a registry, or in another index.
    pub fn descriptor(&self) -> Descriptor {
        let kind = parse_json::<Index>(&self.index).ok().and_then(|index| index.media_type);
        let kind = kind.unwrap_or_else(|| MediaType::new(MediaType::OCI_INDEX));
        Descriptor::new(kind.as_str(), Digest::of(&self.index), self.index.len() as u64)
    }

    /// Returns all documents, each before those that name it.
    pub fn documents(&self) -> impl Iterator<Item = &[u8]> {
        let parts = self.blobs.iter().chain(&self.manifests).map(|(_, bytes)| bytes.as_slice());
        parts.chain([self.index.as_slice()])
    }
}

/// Makes a manifest of statements, and adds what it needs to `blobs`.
fn attestation(
    statements: &[Statement],
    image: &Digest,
    blobs: &mut Vec<(Descriptor, Vec<u8>)>,
) -> (Descriptor, Vec<u8>) {
    let mut layers = Vec::new();
    for statement in statements {
        let bytes = to_json(statement);
        let mut layer = Descriptor::new(STATEMENT, Digest::of(&bytes), bytes.len() as u64);
        layer.annotations.insert(PREDICATE_TYPE.to_owned(), statement.predicate_type.clone());
        layers.push(layer.clone());
        blobs.push((layer, bytes));
    }
    let nowhere = Platform { os: "unknown".to_owned(), ..Platform::linux("unknown") };
    let config = ImageConfig {
        os: nowhere.os.clone(),
        architecture: nowhere.architecture.clone(),
        rootfs: RootFs::of_layers(layers.iter().map(|layer| DiffId(layer.digest)).collect()),
        ..ImageConfig::default()
    };
    let config = to_json(&config);
    let described = Descriptor::new(MediaType::OCI_CONFIG, Digest::of(&config), config.len() as u64);
    blobs.push((described.clone(), config));
    let manifest = to_json(&Manifest::new(described, layers));
    let mut listed = Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(&manifest), manifest.len() as u64);
    listed.annotations.insert(REFERENCE_TYPE.to_owned(), ATTESTATION_MANIFEST.to_owned());
    listed.annotations.insert(REFERENCE_DIGEST.to_owned(), image.to_string());
    listed.platform = Some(nowhere);
    (listed, manifest)
}

/// New digests and sizes by the old digests.
type Renamed = BTreeMap<Digest, (Digest, u64)>;

fn note(renamed: &mut Renamed, descriptor: &Descriptor, bytes: &[u8]) -> Descriptor {
    renamed.insert(descriptor.digest, (Digest::of(bytes), bytes.len() as u64));
    let mut descriptor = descriptor.clone();
    rename(&mut descriptor, renamed);
    descriptor
}

fn rename(descriptor: &mut Descriptor, renamed: &Renamed) {
    if let Some((digest, size)) = renamed.get(&descriptor.digest) {
        (descriptor.digest, descriptor.size) = (*digest, *size);
    }
}

/// Lets a statement speak of other manifests; `None` if it spoke of something else, or is none.
fn resubject(bytes: &[u8], images: &Renamed) -> Option<Vec<u8>> {
    let mut statement: Value = parse_json(bytes).ok()?;
    let mut is_other = false;
    for subject in statement.get_mut("subject")?.as_array_mut()? {
        let Some(digest) = subject.pointer_mut("/digest/sha256") else { continue };
        let from = digest.as_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
        if let Some((to, _)) = from.and_then(|from| images.get(&from)) {
            *digest = json!(to.hex());
            is_other = true;
        }
    }
    is_other.then(|| to_json(&statement))
}

/// Lets a config list renamed statements; `None` if it lists none of them.
fn relist(bytes: &[u8], renamed: &Renamed) -> Option<Vec<u8>> {
    let mut config: ImageConfig = parse_json(bytes).ok()?;
    let before = config.rootfs.clone();
    for diff_id in &mut config.rootfs.diff_ids {
        if let Some((digest, _)) = renamed.get(&diff_id.0) {
            diff_id.0 = *digest;
        }
    }
    (config.rootfs != before).then(|| to_json(&config))
}

/// Lets a manifest name renamed blobs, and a renamed subject.
fn redirect(bytes: &[u8], renamed: &Renamed) -> Option<Vec<u8>> {
    let mut manifest: Manifest = parse_json(bytes).ok()?;
    rename(&mut manifest.config, renamed);
    manifest.layers.iter_mut().for_each(|layer| rename(layer, renamed));
    if let Some(subject) = manifest.other.get_mut("subject") {
        let mut described: Descriptor = serde_json::from_value(subject.clone()).ok()?;
        rename(&mut described, renamed);
        *subject = json!(described);
    }
    Some(to_json(&manifest))
}

fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("these documents are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> Descriptor {
        Descriptor {
            platform: Some(Platform::linux("amd64")),
            ..Descriptor::new(MediaType::OCI_MANIFEST, Digest::of(text.as_bytes()), text.len() as u64)
        }
    }

    fn attested(image: &Descriptor) -> Attested {
        let names = ["pkg:docker/web@1".to_owned(), "pkg:docker/web@2".to_owned()];
        let statements = [
            Statement::new(
                Statement::PROVENANCE_V02,
                json!({ "builder": { "id": "" } }),
                &names,
                &image.digest,
            ),
            Statement::new(Statement::SPDX, json!({ "SPDXID": "x" }), &[], &image.digest),
        ];
        Attested::new(image.clone(), &statements, BTreeMap::from([("a".to_owned(), "b".to_owned())]))
    }

    /// Everything that the documents name is there, with the digest and size that they say.
    fn check(attested: &Attested, image: &Descriptor) {
        let index: Index = parse_json(&attested.index).unwrap();
        assert_eq!((&index.manifests[0], index.annotations["a"].as_str()), (image, "b"));
        let [_, listed] = index.manifests.as_slice() else { panic!("{index:?}") };
        assert_eq!(listed.platform.as_ref().unwrap().to_string(), "unknown/unknown");
        assert_eq!(listed.annotations[REFERENCE_DIGEST], image.digest.to_string());
        assert!(is_attestation(listed) && is_only_of(&index, &image.digest));
        let bytes = &attested.manifests[0].1;
        assert_eq!((Digest::of(bytes), bytes.len() as u64), (listed.digest, listed.size));
        let manifest: Manifest = parse_json(bytes).unwrap();
        let find = |wanted: &Descriptor| {
            let (_, bytes) = attested.blobs.iter().find(|(known, _)| known == wanted).unwrap();
            assert_eq!((Digest::of(bytes), bytes.len() as u64), (wanted.digest, wanted.size));
            bytes
        };
        let config: ImageConfig = parse_json(find(&manifest.config)).unwrap();
        assert_eq!(config.os, "unknown");
        for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let statement: Statement = parse_json(find(layer)).unwrap();
            assert_eq!(
                (layer.annotations[PREDICATE_TYPE].as_str(), diff_id.0),
                (statement.predicate_type.as_str(), layer.digest)
            );
            assert!(statement.subject.iter().all(|subject| subject.digest["sha256"] == image.digest.hex()));
        }
        assert_eq!(manifest.layers.len(), config.rootfs.diff_ids.len());
    }

    #[test]
    fn an_index_names_an_image_and_what_is_said_of_it() {
        let image = image("manifest");
        let attested = attested(&image);
        check(&attested, &image);
        let names: Vec<_> = attested
            .statements(&image.digest)
            .iter()
            .flat_map(|said| said.subject.clone())
            .map(|of| of.name)
            .collect();
        assert_eq!(names, ["pkg:docker/web@1", "pkg:docker/web@2", "_"]);
    }

    #[test]
    fn what_is_said_goes_with_the_image_to_another_manifest() {
        let (old, new) = (image("plain"), image("compressed"));
        let moved = attested(&old).moved(&[(old.digest, new.clone())]);
        check(&moved, &new);
        assert_eq!(moved, attested(&new), "as if it had been said of that");
        assert_eq!(attested(&old).moved(&[(old.digest, old.clone())]), attested(&old));
    }

    #[test]
    fn an_index_is_whole_or_not_there() {
        let image = image("manifest");
        let attested = attested(&image);
        let all: BTreeMap<Digest, &[u8]> =
            attested.documents().map(|bytes| (Digest::of(bytes), bytes)).collect();
        let read = |wanted: &Descriptor| all.get(&wanted.digest).map(|bytes| bytes.to_vec());
        let is_it = |digest: &Digest| *digest == image.digest;
        let again = Attested::read(attested.index.clone(), is_it, read).unwrap();
        assert_eq!((again.index == attested.index, again.manifests == attested.manifests), (true, true));
        assert_eq!(again.blobs.len(), attested.blobs.len());
        for (name, missing) in [("manifest", &attested.manifests[0].0), ("statement", &attested.blobs[0].0)] {
            let read = |wanted: &Descriptor| (wanted != missing).then(|| read(wanted)).flatten();
            assert_eq!(Attested::read(attested.index.clone(), is_it, read), None, "case {name}");
        }
        let other = Digest::of(b"other");
        assert_eq!(Attested::read(attested.index.clone(), |digest| *digest == other, read), None);
        let mut index: Index = parse_json(&attested.index).unwrap();
        index.manifests.push(Descriptor { digest: other, ..image.clone() });
        let two = to_json(&index);
        assert_eq!(Attested::read(two.clone(), is_it, read), None, "another image is not here");
        assert!(Attested::read(two, |_| true, read).is_some());
        index.manifests.swap_remove(0);
        assert_eq!(Attested::read(to_json(&index), |_| true, read), None, "said of what is not listed");
        let mut twice: Index = parse_json(&attested.index).unwrap();
        twice.manifests.push(image.clone());
        let twice = Attested::read(to_json(&twice), is_it, read).unwrap();
        assert_eq!(twice.images().len(), 1, "one image for two platforms");
        assert_eq!(Attested::read(b"{}".to_vec(), is_it, read), None);
    }

    #[test]
    fn several_images_share_an_index_and_move_one_by_one() {
        let [one, two, there] = ["one", "two", "compressed"].map(image);
        let note = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let alone = Attested::new(two.clone(), &[], BTreeMap::new());
        let joined = Attested::join(vec![attested(&one), alone.clone()], note.clone());
        assert_eq!(joined.images(), [one.clone(), two.clone()]);
        let index: Index = parse_json(&joined.index).unwrap();
        assert_eq!((index.manifests.len(), is_attestation(&index.manifests[2])), (3, true));
        assert!(!is_only_of(&index, &one.digest));
        assert_eq!(joined.statements(&one.digest).len(), 2);
        assert_eq!(joined.statements(&two.digest), []);
        let moved = joined.moved(&[(one.digest, there.clone())]);
        assert_eq!(moved, Attested::join(vec![attested(&there), alone.clone()], note.clone()));
        let back = moved.moved(&[(two.digest, one.clone())]);
        let alone = Attested::new(one.clone(), &[], BTreeMap::new());
        assert_eq!(back, Attested::join(vec![attested(&there), alone], note.clone()));
        // All at once, also where one comes to have the manifest that another had.
        let moved = joined.moved(&[(one.digest, two.clone()), (two.digest, there.clone())]);
        let alone = Attested::new(there, &[], BTreeMap::new());
        assert_eq!(moved, Attested::join(vec![attested(&two), alone], note));
    }

    #[test]
    fn attestations_as_artifacts_are_moved_too() {
        let (old, new) = (image("plain"), image("compressed"));
        let mut attested = attested(&old);
        let mut manifest: Manifest = parse_json(&attested.manifests[0].1).unwrap();
        manifest.other.insert("subject".to_owned(), json!(Descriptor { platform: None, ..old.clone() }));
        manifest.config = Descriptor::new("application/vnd.oci.empty.v1+json", Digest::of(b"{}"), 2);
        attested.blobs.retain(|(blob, _)| blob.media_type.as_str() == STATEMENT);
        attested.blobs.push((manifest.config.clone(), b"{}".to_vec()));
        attested.manifests[0].1 = to_json(&manifest);
        let moved = attested.moved(&[(old.digest, new.clone())]);
        let manifest: Value = parse_json(&moved.manifests[0].1).unwrap();
        assert_eq!(manifest["subject"]["digest"], new.digest.to_string());
        assert_eq!(manifest["config"]["size"], 2);
    }
}
