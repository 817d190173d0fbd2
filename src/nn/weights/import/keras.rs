//! Names as Keras gives them: `conv2d_7/kernel`, counted from wherever the process had come to.

/// Layers that Keras counts through, by class.
const COUNTED: [&str; 2] = ["conv2d", "batch_normalization"];

/// Names of the dense head: today's and those of earlier versions of `keras.applications`.
const HEADS: [&str; 3] = ["predictions", "probs", "fc1000"];

/// Canonical names, each with the one in the file.
///
/// Keras 2 counts `conv2d_1, conv2d_2 ...`, Keras 3 `conv2d, conv2d_1 ...`, and both go on counting when a second network is
/// built in the same process; so the first of a class is number 1, and what follows keeps its distance to it.
pub(super) fn canonical(names: &[String]) -> Vec<(String, String)> {
    let first: Vec<usize> = COUNTED
        .iter()
        .map(|class| names.iter().filter_map(|name| number(layer(name), class)).min().unwrap_or(1))
        .collect();
    names.iter().map(|name| (canonical_name(name, &first), name.clone())).collect()
}

fn canonical_name(name: &str, first: &[usize]) -> String {
    let (layer, parameter) = (layer(name), name.rsplit('/').next().unwrap_or(name).trim_end_matches(":0"));
    let counted = COUNTED.iter().zip(first).find_map(|(class, first)| {
        let number = number(layer, class)? - first + 1;
        Some(format!("{class}_{number}/{parameter}"))
    });
    counted.unwrap_or_else(|| {
        let head = HEADS.contains(&layer) || number(layer, "dense").is_some();
        format!("{}/{parameter}", if head { "predictions" } else { layer })
    })
}

/// `conv2d_7` of `conv2d_7/kernel`, and of `conv2d_7/conv2d_7/kernel:0` as in HDF5 files.
fn layer(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// 7 of `conv2d_7`, 0 of `conv2d`.
fn number(layer: &str, class: &str) -> Option<usize> {
    match layer.strip_prefix(class)? {
        "" => Some(0),
        rest => rest.strip_prefix('_')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_names(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        canonical(&names).into_iter().map(|(canonical, _)| canonical).collect()
    }

    #[test]
    fn every_start_of_the_count_gives_the_same_names() {
        let expected = ["batch_normalization_1/beta", "conv2d_1/kernel", "conv2d_2/kernel", "predictions/bias"];
        for names in [
            ["batch_normalization/beta", "conv2d/kernel", "conv2d_1/kernel", "predictions/bias"],
            ["batch_normalization_1/beta", "conv2d_1/kernel", "conv2d_2/kernel", "dense/bias"],
            ["batch_normalization_53/beta:0", "conv2d_94/kernel", "conv2d_95/conv2d_95/kernel:0", "dense_3/bias"],
        ] {
            assert_eq!(canonical_names(&names), expected);
        }
    }

    #[test]
    fn layers_with_names_keep_them() {
        let names = ["conv1_bn/gamma", "conv2_block1_0_conv/kernel"];
        assert_eq!(canonical_names(&names), names);
    }
}
