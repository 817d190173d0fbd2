//! Names as torchvision and timm give them: modules with dots, `weight`, `bias` and the statistics of batch norm.

use std::collections::BTreeMap;

use crate::nn::Network;

/// Canonical names, each with the one in the file. The auxiliary head of InceptionV3 and the counters of batch norm are left out.
pub(super) fn canonical(network: Network, names: &[String]) -> Vec<(String, String)> {
    let layers = match network {
        Network::ResNet50 => resnet50(),
        Network::InceptionV3 => inception_v3(),
        Network::InceptionResNetV2 => inception_resnet_v2(),
    };
    names
        .iter()
        .filter(|name| !name.starts_with("AuxLogits.") && !name.ends_with(".num_batches_tracked"))
        .map(|name| (canonical_name(name, &layers).unwrap_or_else(|| name.clone()), name.clone()))
        .collect()
}

fn canonical_name(name: &str, layers: &BTreeMap<String, Layer>) -> Option<String> {
    let (module, parameter) = name.rsplit_once('.')?;
    let Layer { name, batch_norm } = layers.get(module)?;
    let parameter = match (parameter, batch_norm) {
        ("weight", false) => "kernel",
        ("weight", true) => "gamma",
        ("bias", false) => "bias",
        ("bias", true) => "beta",
        ("running_mean", true) => "moving_mean",
        ("running_var", true) => "moving_variance",
        _ => return None,
    };
    Some(format!("{name}/{parameter}"))
}

/// A layer by its canonical name.
struct Layer {
    name: String,
    batch_norm: bool,
}

/// Canonical layers by the names of torch's modules.
type Layers = BTreeMap<String, Layer>;

fn insert(layers: &mut Layers, module: impl Into<String>, name: impl Into<String>, batch_norm: bool) {
    layers.insert(module.into(), Layer { name: name.into(), batch_norm });
}

/// The dense head under the names it has in torchvision, timm and the older `pretrainedmodels`.
fn heads(layers: &mut Layers) {
    for module in ["fc", "classif", "last_linear"] {
        insert(layers, module, "predictions", false);
    }
}

fn resnet50() -> Layers {
    let mut layers = Layers::new();
    heads(&mut layers);
    insert(&mut layers, "conv1", "conv1_conv", false);
    insert(&mut layers, "bn1", "conv1_bn", true);
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        for block in 0..blocks {
            let (from, to) = (format!("layer{}.{block}", stage + 1), format!("conv{}_block{}", stage + 2, block + 1));
            insert(&mut layers, format!("{from}.downsample.0"), format!("{to}_0_conv"), false);
            insert(&mut layers, format!("{from}.downsample.1"), format!("{to}_0_bn"), true);
            for i in 1..=3 {
                insert(&mut layers, format!("{from}.conv{i}"), format!("{to}_{i}_conv"), false);
                insert(&mut layers, format!("{from}.bn{i}"), format!("{to}_{i}_bn"), true);
            }
        }
    }
    layers
}

/// Gives modules that hold a convolution `conv` and a batch norm `bn` the numbers of Keras, in the order of creation.
fn counted(modules: impl IntoIterator<Item = String>) -> Layers {
    let mut layers = Layers::new();
    heads(&mut layers);
    for (index, module) in modules.into_iter().enumerate() {
        let number = index + 1;
        insert(&mut layers, format!("{module}.conv"), format!("conv2d_{number}"), false);
        insert(&mut layers, format!("{module}.bn"), format!("batch_normalization_{number}"), true);
    }
    layers
}

/// Torchvision's modules in the order in which Keras creates its layers; timm has the same.
fn inception_v3() -> Layers {
    const STEM: &[&str] = &["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"];
    const A: &[&str] = &[
        "branch1x1",
        "branch5x5_1",
        "branch5x5_2",
        "branch3x3dbl_1",
        "branch3x3dbl_2",
        "branch3x3dbl_3",
        "branch_pool",
    ];
    const B: &[&str] = &["branch3x3", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"];
    const C: &[&str] = &[
        "branch1x1",
        "branch7x7_1",
        "branch7x7_2",
        "branch7x7_3",
        "branch7x7dbl_1",
        "branch7x7dbl_2",
        "branch7x7dbl_3",
        "branch7x7dbl_4",
        "branch7x7dbl_5",
        "branch_pool",
    ];
    const D: &[&str] =
        &["branch3x3_1", "branch3x3_2", "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"];
    const E: &[&str] = &[
        "branch1x1",
        "branch3x3_1",
        "branch3x3_2a",
        "branch3x3_2b",
        "branch3x3dbl_1",
        "branch3x3dbl_2",
        "branch3x3dbl_3a",
        "branch3x3dbl_3b",
        "branch_pool",
    ];
    const BLOCKS: [(&str, &[&str]); 11] = [
        ("Mixed_5b", A),
        ("Mixed_5c", A),
        ("Mixed_5d", A),
        ("Mixed_6a", B),
        ("Mixed_6b", C),
        ("Mixed_6c", C),
        ("Mixed_6d", C),
        ("Mixed_6e", C),
        ("Mixed_7a", D),
        ("Mixed_7b", E),
        ("Mixed_7c", E),
    ];
    let stem = STEM.iter().map(|&module| module.to_owned());
    let blocks = BLOCKS.iter().flat_map(|(block, parts)| parts.iter().map(move |part| format!("{block}.{part}")));
    counted(stem.chain(blocks))
}

/// timm's modules in the order in which Keras creates its layers.
fn inception_resnet_v2() -> Layers {
    const STEM: [&str; 5] = ["conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a"];
    const MIXED_5B: &[Branch] = &[Branch::One, Branch::Chain(2), Branch::Chain(3), Branch::AfterPool];
    const BLOCK35: &[Branch] = &[Branch::One, Branch::Chain(2), Branch::Chain(3)];
    const BLOCK17: &[Branch] = &[Branch::One, Branch::Chain(3)];
    const MIXED_6A: &[Branch] = &[Branch::One, Branch::Chain(3)];
    const BLOCK8: &[Branch] = &[Branch::One, Branch::Chain(3)];
    const MIXED_7A: &[Branch] = &[Branch::Chain(2), Branch::Chain(2), Branch::Chain(3)];
    const REPEATED: [(&str, usize, &str); 3] =
        [("repeat", 10, "block35"), ("repeat_1", 20, "block17"), ("repeat_2", 9, "block8")];

    let mut modules: Vec<String> = STEM.iter().map(|&module| module.to_owned()).collect();
    modules.extend(branches("mixed_5b", MIXED_5B));
    (0..10).for_each(|block| modules.extend(branches(&format!("repeat.{block}"), BLOCK35)));
    modules.extend(branches("mixed_6a", MIXED_6A));
    (0..20).for_each(|block| modules.extend(branches(&format!("repeat_1.{block}"), BLOCK17)));
    modules.extend(branches("mixed_7a", MIXED_7A));
    (0..9).for_each(|block| modules.extend(branches(&format!("repeat_2.{block}"), BLOCK8)));
    modules.extend(branches("block8", BLOCK8));

    let mut layers = counted(modules);
    insert(&mut layers, "conv2d_7b.conv", "conv_7b", false);
    insert(&mut layers, "conv2d_7b.bn", "conv_7b_bn", true);
    for (name, count, canonical) in REPEATED {
        for block in 0..count {
            insert(&mut layers, format!("{name}.{block}.conv2d"), format!("{canonical}_{}_conv", block + 1), false);
        }
    }
    insert(&mut layers, "block8.conv2d", "block8_10_conv", false);
    layers
}

/// How timm lays out a branch of a block.
#[derive(Clone, Copy)]
enum Branch {
    /// One convolution: `branch0`.
    One,
    /// So many in a row: `branch1.0`, `branch1.1` ...
    Chain(usize),
    /// One behind a pool: `branch3.1`.
    AfterPool,
}

fn branches(block: &str, branches: &[Branch]) -> Vec<String> {
    let modules = |(index, branch): (usize, &Branch)| {
        let name = format!("{block}.branch{index}");
        match *branch {
            Branch::One => vec![name],
            Branch::Chain(length) => (0..length).map(|link| format!("{name}.{link}")).collect(),
            Branch::AfterPool => vec![format!("{name}.1")],
        }
    };
    branches.iter().enumerate().flat_map(modules).collect()
}
