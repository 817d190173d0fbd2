//! Names on the command line for the choices of other rooms.

use clap::ValueEnum;

use crate::attribution::{Baseline, Method};
use crate::nn::Network;

/// `--network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkName {
    /// ResNet-50.
    #[value(name = "resnet50")]
    ResNet50,
    /// InceptionV3.
    #[value(name = "inception-v3")]
    InceptionV3,
    /// InceptionResNetV2.
    #[value(name = "inception-resnet-v2")]
    InceptionResNetV2,
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Self {
        match name {
            NetworkName::ResNet50 => Self::ResNet50,
            NetworkName::InceptionV3 => Self::InceptionV3,
            NetworkName::InceptionResNetV2 => Self::InceptionResNetV2,
        }
    }
}

impl NetworkName {
    /// The networks asked for; all where none is named.
    pub fn asked(names: &[Self]) -> Vec<Network> {
        if names.is_empty() { Network::ALL.to_vec() } else { names.iter().map(|&name| name.into()).collect() }
    }
}

/// `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// Integrated Gradients.
    Ig,
    /// Grad-CAM.
    GradCam,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Ig => Self::Ig,
            MethodName::GradCam => Self::GradCam,
        }
    }
}

/// `--baseline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BaselineName {
    /// The photograph blurred inside its field.
    Blur,
    /// Black.
    Black,
    /// The field's mean colour.
    Mean,
    /// The mean of the maps from black and from white.
    BlackWhite,
}

impl From<BaselineName> for Baseline {
    fn from(name: BaselineName) -> Self {
        match name {
            BaselineName::Blur => Self::Blur,
            BaselineName::Black => Self::Black,
            BaselineName::Mean => Self::Mean,
            BaselineName::BlackWhite => Self::BlackWhite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_same_name_everywhere() {
        for name in NetworkName::value_variants() {
            let value = name.to_possible_value().expect("none is hidden");
            assert_eq!(value.get_name(), Network::from(*name).name());
        }
    }
}
