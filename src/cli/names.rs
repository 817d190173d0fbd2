//! Names on the command line for the choices of other rooms.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::attribution::{Baseline, Method};
use crate::grading::{Output, Target};
use crate::nn::Network;

/// How a value is written on the command line.
pub fn name(value: impl ValueEnum + Copy) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

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

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputName {
    /// ln(p(grade >= 2) / p(grade < 2)).
    LogOddsReferable,
    /// Probability of a class.
    Probability,
    /// Logit of a class.
    Logit,
}

impl OutputName {
    /// The output, of a class where it is one's.
    pub fn of(self, target: Target) -> Output {
        match self {
            Self::LogOddsReferable => Output::LogOddsReferable,
            Self::Probability => Output::Probability(target),
            Self::Logit => Output::Logit(target),
        }
    }
}

/// `--baseline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
            assert_eq!(super::name(*name), Network::from(*name).name());
        }
    }
}
