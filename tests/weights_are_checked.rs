//! A wrong hash and a missing, truncated, mismatched or impossible tensor are named; what is written is loaded again as it was.

#![allow(clippy::unwrap_used, reason = "what only tests call is a test")]

mod hashed;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use diaret::nn::graph::{Graph, Variant};
use diaret::nn::weights::{Description, LARGEST_FILE, MANIFEST, Manifest, Tensor, Tensors, load, write};
use diaret::nn::{Device, DeviceChoice, Network, SIDE};
use half::f16;
use safetensors::SafeTensors;

const NETWORK: Network = Network::ResNet50;

fn description(network: Network) -> Description {
    let (provenance, licence) = ("made by a hash".to_owned(), "MIT OR Apache-2.0".to_owned());
    Description { network, variant: Variant::keras(network, Some(5)), provenance, licence }
}

fn tensors(network: Network) -> Tensors {
    let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
    let hashed = hashed::parameters(&graph, 1);
    let parameters = graph.parameters();
    let tensor = |name: &str, shape: &[usize]| Some(Tensor { shape: shape.to_vec(), values: hashed(name)? });
    parameters.iter().filter_map(|p| Some((p.name.clone(), tensor(&p.name, &p.shape)?))).collect()
}

fn resnet50() -> &'static Tensors {
    static TENSORS: OnceLock<Tensors> = OnceLock::new();
    TENSORS.get_or_init(|| tensors(NETWORK))
}

/// Writes weights and a manifest that fits them.
fn shelve(folder: &Path, network: Network, tensors: &Tensors) {
    let files = write(&folder.join("network.safetensors"), tensors, &description(network)).unwrap();
    let mut manifest = Manifest::read_or_new(folder).unwrap();
    manifest.put(&description(network), files);
    manifest.write(folder).unwrap();
}

/// The error of loading a folder that somebody has spoilt.
fn error(folder: &Path, network: Network) -> String {
    let device = Device::open(DeviceChoice::Cpu).unwrap();
    match load(folder, network, &device) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error.to_string(),
    }
}

fn assert_names(error: &str, words: &[&str]) {
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn what_is_written_is_loaded_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    shelve(folder.path(), NETWORK, resnet50());
    let device = Device::open(DeviceChoice::Cpu).unwrap();
    let began = Instant::now();
    let model = load(folder.path(), NETWORK, &device).unwrap();
    println!("loaded in {:.2} s", began.elapsed().as_secs_f64());
    assert_eq!(model.weights_hash().len(), 64);
    let logits = model.executor(1).unwrap().logits(&vec![0.5; SIDE * SIDE * 3]).unwrap();
    assert!(logits.len() == 5 && logits.iter().all(|logit| logit.is_finite()));
    assert_names(&error(folder.path(), Network::InceptionV3), &["no weights yet", "InceptionV3", MANIFEST]);
}

/// 56 million parameters do not fit into one file.
#[test]
fn a_large_network_is_spread_over_files() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::InceptionResNetV2;
    shelve(folder.path(), network, &tensors(network));
    let manifest = Manifest::read(folder.path()).unwrap();
    let files = &manifest.networks[&network].files;
    assert_eq!(files.len(), 2);
    for part in files {
        assert!(folder.path().join(&part.file).metadata().unwrap().len() <= LARGEST_FILE as u64);
    }
    let device = Device::open(DeviceChoice::Cpu).unwrap();
    assert_eq!(load(folder.path(), network, &device).unwrap().network(), network);
    std::fs::remove_file(folder.path().join(&files[1].file)).unwrap();
    assert_names(&error(folder.path(), network), &["network-2.safetensors", "cannot be read"]);
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        shelve(folder.path(), NETWORK, resnet50());
    }
    let [one, other] = folders.map(|folder| Manifest::read(folder.path()).unwrap());
    assert_eq!(one, other);
}

#[test]
fn a_wrong_hash_is_named() {
    let folder = tempfile::tempdir().unwrap();
    shelve(folder.path(), NETWORK, resnet50());
    let file = folder.path().join("network.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_names(&error(folder.path(), NETWORK), &["network.safetensors", "SHA-256", "the manifest says"]);
}

#[test]
fn a_truncated_file_is_named_even_if_its_hash_fits() {
    let folder = tempfile::tempdir().unwrap();
    shelve(folder.path(), NETWORK, resnet50());
    let file = folder.path().join("network.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    for length in [0, 4, 1000, bytes.len() - 2] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        assert_names(&error(folder.path(), NETWORK), &["network.safetensors", "SHA-256"]);
        let mut manifest = Manifest::read(folder.path()).unwrap();
        manifest.networks.get_mut(&NETWORK).unwrap().files[0].sha256 = sha256(&bytes[..length]);
        manifest.write(folder.path()).unwrap();
        assert_names(&error(folder.path(), NETWORK), &["network.safetensors", "truncated"]);
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn missing_mismatched_and_unknown_tensors_are_named() {
    const NAME: &str = "conv4_block3_2_conv/kernel";
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = resnet50().clone();
    let kernel = tensors.remove(NAME).unwrap();
    shelve(folder.path(), NETWORK, &tensors);
    assert_names(&error(folder.path(), NETWORK), &["network.safetensors", "no tensor", NAME]);

    tensors.insert(NAME.to_owned(), kernel.permuted(&[2, 3, 0, 1]));
    shelve(folder.path(), NETWORK, &tensors);
    assert_names(&error(folder.path(), NETWORK), &[NAME, "[256, 256, 3, 3]", "[3, 3, 256, 256]"]);

    tensors.insert(NAME.to_owned(), kernel);
    tensors.insert("conv9_conv/kernel".to_owned(), Tensor::zeros(&[1]));
    shelve(folder.path(), NETWORK, &tensors);
    assert_names(&error(folder.path(), NETWORK), &["conv9_conv/kernel", "ResNet-50 does not have"]);
}

#[test]
fn weights_that_no_training_gives_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, fault) in
        [("predictions/bias", f32::NAN, "not finite"), ("conv1_bn/moving_variance", -1e-6, "a negative variance")]
    {
        let mut tensors = resnet50().clone();
        tensors.get_mut(name).unwrap().values[2] = value;
        let refused = write(&folder.path().join("network.safetensors"), &tensors, &description(NETWORK)).unwrap_err();
        assert_names(&refused.to_string(), &[name, fault]);
    }
}

/// A file that another program wrote, or that was damaged before it was hashed. Loaded, it would grade: ReLUs take NaN for 0.
#[test]
fn weights_that_no_training_gives_are_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    shelve(folder.path(), NETWORK, resnet50());
    let file = folder.path().join("network.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let (length, header) = SafeTensors::read_metadata(&whole).unwrap();
    for (name, value, fault) in [
        ("conv2_block1_1_conv/kernel", f16::NAN, "not finite"),
        ("conv2_block1_1_bn/beta", f16::INFINITY, "not finite"),
        ("conv2_block1_1_bn/moving_variance", f16::NEG_ONE, "a negative variance"),
    ] {
        let mut bytes = whole.clone();
        let start = 8 + length + header.info(name).unwrap().data_offsets.0;
        bytes[start..start + 2].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&file, &bytes).unwrap();
        let mut manifest = Manifest::read(folder.path()).unwrap();
        manifest.networks.get_mut(&NETWORK).unwrap().files[0].sha256 = sha256(&bytes);
        manifest.write(folder.path()).unwrap();
        assert_names(&error(folder.path(), NETWORK), &["network.safetensors", name, fault, "restore"]);
    }
}

#[test]
fn a_manifest_that_contradicts_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    shelve(folder.path(), NETWORK, resnet50());
    let path = folder.path().join(MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"caffe\"", "\"torch\"")).unwrap();
    assert_names(&error(folder.path(), NETWORK), &[MANIFEST, "says something else of itself"]);
    std::fs::write(&path, text.replace("cap = 320", "cap = 512")).unwrap();
    assert_names(&error(folder.path(), NETWORK), &[MANIFEST, "inputs made in another way"]);
    std::fs::write(&path, "networks = 3").unwrap();
    assert_names(&error(folder.path(), NETWORK), &[MANIFEST]);
    std::fs::remove_file(&path).unwrap();
    assert_names(&error(folder.path(), NETWORK), &[MANIFEST, "cannot be read"]);
}
