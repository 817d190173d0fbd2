//! The raw file holds what the map was made of and what it is, bit by bit.

// Exact values are what is promised.
#![allow(clippy::float_cmp)]

use diaret::attribution::{Attribution, Method, raw};
use safetensors::SafeTensors;

#[test]
fn the_three_tensors_come_back() {
    let values = |seed: f32| -> Vec<f32> { (0..5 * 4 * 3).map(|i| seed * i as f32).collect() };
    let attribution = Attribution {
        method: Method::GradCam,
        shape: [5, 4, 3],
        map: values(-0.1),
        f_input: 1.0,
        f_baseline: None,
        completeness_error: None,
        completeness_gap: None,
        map_change: None,
        converged: true,
        gradient_evaluations: 1,
        next: None,
        history: Vec::new(),
        mass_at_rim: 0.0,
        seconds: 0.0,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.safetensors");
    raw::write(&path, &attribution, &values(0.3), &values(0.7)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, seed) in [("attribution", -0.1), ("input", 0.3), ("baseline", 0.7)] {
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (safetensors::Dtype::F32, [5, 4, 3].as_slice()));
        let read: Vec<f32> = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(read, values(seed), "{name}");
    }
    let error = raw::write(&folder.path().join("no/such/folder.safetensors"), &attribution, &values(0.3), &values(0.7));
    assert!(error.unwrap_err().to_string().contains("no/such"));
}
