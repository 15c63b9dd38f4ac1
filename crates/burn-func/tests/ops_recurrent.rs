//! Recurrent layers. They make their states in the device's default type, which is double precision in this process alone.
#![allow(missing_docs)]

mod common;

use burn::nn::*;
use burn::tensor::{Device, DeviceConfig, FloatDType};
use common::layers::{check, energy};
use common::*;

#[test]
fn recurrent_layers() {
    Device::flex().configure(DeviceConfig::default().float_dtype(FloatDType::F64)).unwrap();
    let d = &device();
    let x = data([2, 3, 2], 1);
    let model = settled(&LstmConfig::new(2, 3, true).init(d));
    check("lstm", &model, &x, |model, x| energy(model.forward(x, None).0));
    let model = settled(&BiLstmConfig::new(2, 3, true).init(d));
    check("bilstm", &model, &x, |model, x| energy(model.forward(x, None).0));
    let model = settled(&GruConfig::new(2, 3, true).init(d));
    check("gru", &model, &x, |model, x| energy(model.forward(x, None)));
    let model = settled(&RnnConfig::new(2, 3, true).init(d));
    check("rnn", &model, &x, |model, x| energy(model.forward(x, None).0));
}
