//! What ships is what was measured: hashes hold, sizes are within the limits, and the bundled photographs get the
//! probabilities that the training wrote down beside the card.

use std::path::{Path, PathBuf};

use diaret::fundus::{FieldOfView, Listing, NetworkInput, read};
use diaret::grading::{Grade, NetworkGrade};
use diaret::nn::weights::{LARGEST_FILE, Manifest, load};
use diaret::nn::{Device, DeviceChoice, Network, SIDE};
use diaret::training::card::card;
use diaret::training::report::Report;
use sha2::{Digest, Sha256};

/// Networks that have weights.
const SHIPPED: [Network; 2] = [Network::ResNet50, Network::InceptionV3];

/// Photographs of the bundle that are tried, one without and one with retinopathy.
const TRIED: [&str; 2] = ["IDRiD_199.jpg", "IDRiD_048.jpg"];

/// Processors add up in different orders.
const TOLERANCE: f64 = 2e-3;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn report(network: Network) -> Report {
    let file = root().join(format!("weights/figures/{}.json", network.name()));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn files_are_those_of_the_manifest_and_of_the_card() {
    let manifest = Manifest::read(&root().join("weights")).unwrap();
    assert_eq!(manifest.networks.keys().copied().collect::<Vec<_>>(), SHIPPED);
    let mut bytes = 0;
    for (network, entry) in manifest.networks {
        let listed: Vec<_> = entry.files.iter().map(|file| (file.file.clone(), file.sha256.clone())).collect();
        assert_eq!(report(network).files, listed);
        for (file, hash) in listed {
            let content = std::fs::read(root().join("weights").join(file)).unwrap();
            let found = Sha256::digest(&content).iter().fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
            assert_eq!(found, hash);
            assert!(content.len() <= LARGEST_FILE);
            bytes += content.len();
        }
    }
    assert!(bytes < 100 << 20, "{bytes} bytes of weights");
}

#[test]
fn the_card_is_what_the_figures_give() {
    let written = std::fs::read_to_string(root().join("weights/MODEL_CARD.md")).unwrap();
    assert_eq!(written, card(&SHIPPED.map(report)));
}

#[test]
fn bundled_photographs_get_the_probabilities_written_down() {
    let device = Device::open(DeviceChoice::Cpu).unwrap();
    for network in SHIPPED {
        let mut executor = load(&root().join("weights"), network, &device).unwrap().executor(1).unwrap();
        let report = report(network);
        for name in TRIED {
            let photograph = read(&root().join("assets/samples").join(name), &mut Listing::default()).unwrap();
            let field = FieldOfView::find(&photograph).unwrap();
            let input = NetworkInput::new(&photograph, &field, SIDE);
            let said = NetworkGrade::from_logits(&executor.logits(&input.pixels).unwrap());
            let stored = report.samples.iter().find(|pair| pair.file == name).unwrap();
            for grade in Grade::ALL {
                let [said, stored] = [said, stored.full_size].map(|word| word.probabilities[grade.index()]);
                assert!((said - stored).abs() < TOLERANCE, "{network:?}, {name}, {grade:?}: {said} {stored}");
            }
        }
    }
}
