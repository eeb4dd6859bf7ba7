//! Steps in the documents of BuildKit's caches. Format: moby/buildkit `cache/remotecache/v1/types`.
//!
//! A record is a key, the records that it builds on, and the layers that show the result. BuildKit computes keys in another way, so
//! it finds none of ours, but what reads and copies its caches can do so with these. A field of our own says what we
//! need of a step beyond that. Nothing else of its inputs is told: values of build arguments are in a key as its digest only.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use shipway_oci::{DiffId, Digest, parse_json};

use crate::time::is_rfc3339;

/// Media type of the document.
pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// Field of an image's config that holds the records of a cache within the image, as base64.
pub const INLINE_CACHE: &str = "moby.buildkit.cache.v0";

/// A step that was done somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// Where it is found.
    pub key: Digest,
    /// The last of its keys, which knows all that it read; those before it are shortcuts.
    pub last: Digest,
    /// What later steps build on, whichever key it was found under: the files that it left.
    pub state: Digest,
    /// When it was done, RFC 3339.
    pub created: String,
    /// The layer that it made, if it made one.
    pub diff_id: Option<DiffId>,
}

/// The steps of one build, in an order that is always the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    steps: Vec<Recorded>,
    places: HashMap<Digest, usize>,
}

/// A step, or a file system that steps begin with.
#[derive(Clone, Debug)]
struct Recorded {
    key: Digest,
    parent: Option<usize>,
    step: Option<StepRecord>,
    /// Layers of the steps of its stage up to it.
    chain: Vec<DiffId>,
}

/// A document as it is written.
#[derive(Debug, Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer>,
    records: Vec<Record>,
}

#[derive(Debug, Serialize)]
struct Layer {
    blob: Digest,
    /// Place of the layer below, -1 if there is none.
    parent: i64,
}

#[derive(Debug, Serialize)]
struct Record {
    digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Vec<Link>>,
    #[serde(rename = "layers", skip_serializing_if = "Vec::is_empty")]
    results: Vec<Shown>,
    #[serde(rename = "shipway", skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
}

#[derive(Debug, Serialize)]
struct Link {
    link: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    layer: usize,
    created_at: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Step {
    /// Caches of older versions have none, and are not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Digest>,
    state: Digest,
    created: String,
    #[serde(default, rename = "diffID", skip_serializing_if = "Option::is_none")]
    diff_id: Option<DiffId>,
}

/// What is read of a document: the rest is for others.
#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    records: Vec<FoundRecord>,
}

#[derive(Debug, Deserialize)]
struct FoundRecord {
    /// Of any algorithm where it is not ours.
    #[serde(default)]
    digest: String,
    #[serde(default, rename = "shipway")]
    step: Option<Step>,
}

impl StepRecord {
    /// Reads those that a cache's document has; records of others are left out.
    pub fn parse(document: &[u8]) -> Result<Vec<Self>, serde_json::Error> {
        let found: Found = parse_json(document)?;
        Ok(found.records.into_iter().filter_map(FoundRecord::known).collect())
    }

    /// Reads those that the config of an image has, from the text in [`INLINE_CACHE`]; the error says what is wrong with it.
    pub fn parse_inline(text: &str) -> Result<Vec<Self>, String> {
        let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
        let records: Vec<FoundRecord> = parse_json(&bytes).map_err(|error| error.to_string())?;
        Ok(records.into_iter().filter_map(FoundRecord::known).collect())
    }
}

impl FoundRecord {
    fn known(self) -> Option<StepRecord> {
        let Step { last, state, created, diff_id } = self.step?;
        let (key, last) = (self.digest.parse().ok()?, last?);
        // It goes into configs of images.
        is_rfc3339(&created).then_some(StepRecord { key, last, state, created, diff_id })
    }
}

impl Records {
    /// Adds a step under its keys, on top of `parent`; steps come after those that they build on.
    pub(crate) fn add(&mut self, parent: Digest, keys: &[Digest], step: &StepRecord, chain: &[DiffId]) {
        let below = match self.places.get(&parent) {
            Some(place) => *place,
            None => self.push(Recorded { key: parent, parent: None, step: None, chain: Vec::new() }),
        };
        for key in keys.iter().chain([&step.last]) {
            if !self.places.contains_key(key) {
                let step = StepRecord { key: *key, ..step.clone() };
                self.push(Recorded {
                    key: *key,
                    parent: Some(below),
                    step: Some(step),
                    chain: chain.to_vec(),
                });
            }
        }
        // Where the last of its keys is, what builds on it begins.
        let place = self.places[&step.last];
        self.places.entry(step.state).or_insert(place);
    }

    /// Adds the steps of another build.
    pub(crate) fn merge(&mut self, other: Self) {
        let mut places = Vec::with_capacity(other.steps.len());
        for recorded in other.steps {
            let place = match self.places.get(&recorded.key) {
                Some(place) => *place,
                None => {
                    let parent = recorded.parent.map(|parent| places[parent]);
                    self.push(Recorded { parent, ..recorded.clone() })
                }
            };
            if let Some(step) = recorded.step {
                self.places.entry(step.state).or_insert(place);
            }
            places.push(place);
        }
    }

    fn push(&mut self, recorded: Recorded) -> usize {
        let place = self.steps.len();
        self.places.insert(recorded.key, place);
        self.steps.push(recorded);
        place
    }

    /// Returns the document of a cache that has the layers of `blobs`.
    pub(crate) fn document(&self, blobs: &HashMap<DiffId, Digest>) -> Vec<u8> {
        let mut layers: Vec<Layer> = Vec::new();
        let mut places: BTreeMap<(Digest, i64), usize> = BTreeMap::new();
        let mut place_of = |chain: &[DiffId]| {
            // A chain that is not whole shows nothing.
            let blobs: Vec<Digest> =
                chain.iter().map(|diff_id| blobs.get(diff_id).copied()).collect::<Option<_>>()?;
            let mut below = None;
            for blob in blobs {
                let parent = below.map_or(-1, |below| i64::try_from(below).unwrap_or(i64::MAX));
                below = Some(*places.entry((blob, parent)).or_insert_with(|| {
                    layers.push(Layer { blob, parent });
                    layers.len() - 1
                }));
            }
            below
        };
        let records = self.records(&mut place_of);
        serde_json::to_vec(&Document { layers, records }).expect("digests and texts are always JSON")
    }

    /// Returns the text of a cache within an image that has some layers, the lowest `base` of which no step made.
    pub(crate) fn inline(&self, image: &[DiffId], base: usize) -> String {
        let mut place_of = |chain: &[DiffId]| {
            // The topmost stands for all below it.
            let is_there = image.get(base..).is_some_and(|own| own.starts_with(chain));
            is_there.then(|| base + chain.len() - 1)
        };
        let records = self.records(&mut place_of);
        STANDARD.encode(serde_json::to_vec(&records).expect("digests and texts are always JSON"))
    }

    fn records(&self, place_of: &mut dyn FnMut(&[DiffId]) -> Option<usize>) -> Vec<Record> {
        let record = |recorded: &Recorded| {
            let created_at = recorded.step.as_ref().map(|step| step.created.clone());
            let layer = if recorded.chain.is_empty() { None } else { place_of(&recorded.chain) };
            let shown = layer.zip(created_at).map(|(layer, created_at)| Shown { layer, created_at });
            Record {
                digest: recorded.key,
                inputs: recorded.parent.map(|link| vec![Link { link }]).into_iter().collect(),
                results: shown.into_iter().collect(),
                step: recorded.step.as_ref().map(|step| Step {
                    last: Some(step.last),
                    state: step.state,
                    created: step.created.clone(),
                    diff_id: step.diff_id,
                }),
            }
        };
        self.steps.iter().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shipway_testkit::{Dice, rounds};

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn step(state: &str, layer: Option<&str>) -> StepRecord {
        let (key, last, state) = (digest(state), digest(state), digest(&format!("files of {state}")));
        let diff_id = layer.map(|layer| DiffId(digest(layer)));
        StepRecord { key, last, state, created: "2026-01-02T03:04:05.6Z".to_owned(), diff_id }
    }

    /// Two steps on a base, one of which has a shortcut, and one that made no layer.
    fn records() -> Records {
        let mut records = Records::default();
        let chain = [DiffId(digest("l1")), DiffId(digest("l2"))];
        records.add(digest("base"), &[digest("one")], &step("one", Some("l1")), &chain[..1]);
        records.add(digest("files of one"), &[], &step("two", None), &chain[..1]);
        records.add(
            digest("files of two"),
            &[digest("short"), digest("three")],
            &step("three", Some("l2")),
            &chain,
        );
        // Another stage on top of the first.
        records.add(digest("base"), &[digest("one")], &step("one", Some("l1")), &chain[..1]);
        records
    }

    #[test]
    fn steps_of_two_builds_are_one_set() {
        let mut merged = records();
        let before = merged.steps.len();
        merged.merge(records());
        assert_eq!(merged.steps.len(), before, "the same again");
        let mut other = Records::default();
        let chain = [DiffId(digest("l1")), DiffId(digest("l9"))];
        other.add(digest("else"), &[], &step("first", None), &[]);
        other.add(digest("base"), &[digest("one")], &step("one", Some("l1")), &chain[..1]);
        other.add(digest("files of one"), &[], &step("nine", Some("l9")), &chain);
        merged.merge(other);
        assert_eq!(merged.steps.len(), before + 3);
        let parent = |state: &str| {
            let recorded = &merged.steps[merged.places[&digest(state)]];
            recorded.parent.map(|parent| merged.steps[parent].key)
        };
        assert_eq!((parent("nine"), parent("first")), (Some(digest("one")), Some(digest("else"))));
    }

    #[test]
    fn a_document_has_the_form_of_buildkit_and_gives_the_steps_again() {
        let blobs: HashMap<DiffId, Digest> =
            ["l1", "l2"].map(|layer| (DiffId(digest(layer)), digest(&format!("blob {layer}")))).into();
        let document = records().document(&blobs);
        let read: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(
            read["layers"],
            json!([
                { "blob": digest("blob l1").to_string(), "parent": -1 },
                { "blob": digest("blob l2").to_string(), "parent": 0 },
            ])
        );
        let shown = |at: usize| {
            (read["records"][at]["inputs"].clone(), read["records"][at]["layers"][0]["layer"].clone())
        };
        assert_eq!(shown(0), (Value::Null, Value::Null));
        assert_eq!(shown(1), (json!([[{ "link": 0 }]]), json!(0)));
        assert_eq!(shown(2), (json!([[{ "link": 1 }]]), json!(0)));
        assert_eq!(shown(3), (json!([[{ "link": 2 }]]), json!(1)));
        assert_eq!(shown(4), (json!([[{ "link": 2 }]]), json!(1)));
        assert_eq!(read["records"].as_array().unwrap().len(), 5);
        let short = StepRecord { key: digest("short"), ..step("three", Some("l2")) };
        let want = [step("one", Some("l1")), step("two", None), short, step("three", Some("l2"))];
        assert_eq!(StepRecord::parse(&document).unwrap(), want);
        // A chain with a hole shows nothing; the steps are known all the same.
        let hole = records().document(&HashMap::from([(DiffId(digest("l2")), digest("blob"))]));
        let read: Value = serde_json::from_slice(&hole).unwrap();
        assert_eq!((&read["layers"], &read["records"][4]["layers"]), (&Value::Null, &Value::Null));
        assert_eq!(StepRecord::parse(&hole).unwrap(), want);
    }

    #[test]
    fn within_an_image_layers_are_those_of_the_image() {
        let image = ["base 1", "base 2", "l1", "l2"].map(|layer| DiffId(digest(layer)));
        let text = records().inline(&image, 2);
        let read: Value = serde_json::from_slice(&STANDARD.decode(&text).unwrap()).unwrap();
        let layers: Vec<&Value> = (0..5).map(|at| &read[at]["layers"][0]["layer"]).collect();
        assert_eq!(layers, [&Value::Null, &json!(2), &json!(2), &json!(3), &json!(3)]);
        assert_eq!(StepRecord::parse_inline(&text).unwrap().len(), 4);
        assert!(StepRecord::parse_inline("%").is_err() && StepRecord::parse_inline("e30=").is_err());
    }

    #[test]
    fn documents_of_others_have_no_steps_and_damaged_ones_do_no_harm() {
        let zero = format!("sha256:{}", "0".repeat(64));
        let others = json!({
            "layers": [{ "blob": "sha512:x", "annotations": { "mediaType": "x", "createdAt": "" } }],
            "records": [{ "digest": "random:x" }, { "digest": zero, "chains": [{ "layers": [0], "createdAt": "" }], "inputs": [[{ "selector": "s", "link": 0 }]] }],
        });
        assert_eq!(StepRecord::parse(others.to_string().as_bytes()).unwrap(), []);
        assert_eq!(StepRecord::parse(b"{}").unwrap(), []);
        let good = records().document(&HashMap::new());
        let bad_time = String::from_utf8(good.clone()).unwrap().replace("2026-01-02T", "2026-01-02 ");
        assert_eq!(StepRecord::parse(bad_time.as_bytes()).unwrap(), [], "it would get into an image");
        let words: [&[u8]; 6] = [b"\"shipway\":{}", b"null", b"[[[[", b"-1", b"\"records\":[]", b"1e99"];
        let mut dice = Dice::new(0xcac4e);
        for _ in 0..rounds(5_000) {
            for step in StepRecord::parse(&dice.mutate(&good, &words)).unwrap_or_default() {
                assert!(is_rfc3339(&step.created));
            }
        }
    }
}
