//! candle-transformers' ResNet-50 (stride on the 3x3, "v1.5") gives the logits of our `torchvision` variant: a third oracle.

#![allow(clippy::unwrap_used, reason = "what only tests call is a test")]

mod hashed;

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Device, Module as _, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::resnet;
use diaret::nn::cpu::CpuExecutor;
use diaret::nn::graph::{Graph, Variant};
use diaret::nn::plan::Plan;
use diaret::nn::{Executor as _, Network};

const SIDE: usize = 107;

/// `layer1.0.conv1.weight` of `conv2_block1_1_conv/kernel`.
fn name_in_torch(name: &str) -> String {
    let (layer, parameter) = name.split_once('/').unwrap();
    let parameter = match parameter {
        "kernel" | "gamma" => "weight",
        "bias" | "beta" => "bias",
        "moving_mean" => "running_mean",
        "moving_variance" => "running_var",
        _ => panic!("{name}"),
    };
    let module = match layer.split('_').collect::<Vec<_>>()[..] {
        ["predictions"] => "fc".to_owned(),
        ["conv1", "conv"] => "conv1".to_owned(),
        ["conv1", "bn"] => "bn1".to_owned(),
        [stage, block, index, kind] => {
            let number = |word: &str, prefix: &str| word.strip_prefix(prefix).unwrap().parse::<usize>().unwrap();
            let block = format!("layer{}.{}", number(stage, "conv") - 1, number(block, "block") - 1);
            match (index, kind) {
                ("0", "conv") => format!("{block}.downsample.0"),
                ("0", _) => format!("{block}.downsample.1"),
                _ => format!("{block}.{kind}{index}"),
            }
        }
        _ => panic!("{name}"),
    };
    format!("{module}.{parameter}")
}

#[test]
fn resnet50_gives_the_same_logits() {
    let network = Network::ResNet50;
    let graph = Graph::new(network, &Variant::torchvision(network, Some(5)), SIDE).unwrap();
    let hashed = hashed::parameters(&graph, 9);
    let mut theirs = HashMap::new();
    for parameter in graph.parameters() {
        let convolution_bias = parameter.name.ends_with("_conv/bias");
        if convolution_bias {
            continue; // torchvision's convolutions have none.
        }
        let tensor = Tensor::from_vec(hashed(&parameter.name).unwrap(), parameter.shape.clone(), &Device::Cpu).unwrap();
        let tensor = match parameter.shape.len() {
            4 => tensor.permute((3, 2, 0, 1)).unwrap(),
            2 => tensor.t().unwrap(),
            _ => tensor,
        };
        theirs.insert(name_in_torch(&parameter.name), tensor.contiguous().unwrap().to_dtype(DType::F64).unwrap());
    }
    let without_biases = |name: &str| if name.ends_with("_conv/bias") { None } else { hashed(name) };
    let plan = Plan::<f64>::new(&graph, &without_biases).unwrap();
    let image: Vec<f64> = hashed::uniform(9, "image", SIDE * SIDE * 3).collect();
    let ours = CpuExecutor::new(Arc::new(plan), 1).unwrap().logits(&image).unwrap();

    let model = resnet::resnet50(5, VarBuilder::from_tensors(theirs, DType::F64, &Device::Cpu)).unwrap();
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let normalised: Vec<f64> =
        image.iter().enumerate().map(|(place, value)| (value - mean[place % 3]) / deviation[place % 3]).collect();
    let x = Tensor::from_vec(normalised, (1, SIDE, SIDE, 3), &Device::Cpu).unwrap();
    let x = x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
    let theirs = model.forward(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();

    let error: f64 = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).sum();
    let size: f64 = theirs.iter().map(|logit| logit.abs()).sum();
    assert!(error <= 1e-9 * size, "{ours:?} instead of {theirs:?}");
}
