//! Rotations as new classes, and the names they go by.
//!
//! Does not know: episodes. Nothing here turns a whole task: each rotation is a class of its own,
//! so an episode may hold a character and its own rotation as two classes.

use crate::{Class, Error, ImageClasses};

/// Name endings, in the order of quarter turns.
const SUFFIXES: [&str; 4] = ["/rot000", "/rot090", "/rot180", "/rot270"];

/// The name without a rotation.
pub(crate) fn character_of(name: &str) -> &str {
    let stripped = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    stripped.unwrap_or(name)
}

impl ImageClasses {
    /// Four classes for each one: turned counter-clockwise by 0, 90, 180 and 270 degrees.
    ///
    /// The names end in `/rot000`, `/rot090`, `/rot180` and `/rot270` and stand together in this
    /// order; the group stays. The pixels of `/rot000` are shared with this dataset.
    ///
    /// # Errors
    /// [`Error::NotSquare`] where height and width differ, [`Error::AlreadyRotated`] where a class
    /// is a rotation already.
    ///
    /// # Cost
    /// Three new images for each image.
    ///
    /// # Source
    /// Santoro et al. 2016 and Vinyals et al. 2016 train on Omniglot with these four classes for
    /// each character.
    pub fn with_rotations(&self) -> Result<Self, Error> {
        let [_, height, width] = self.shape();
        if height != width {
            return Err(Error::NotSquare { height, width });
        }
        let mut rotated = Self::new(self.shape())?;
        for class in self.classes() {
            push_turns(&mut rotated, class, height)?;
        }
        Ok(rotated)
    }
}

fn push_turns(rotated: &mut ImageClasses, class: &Class, side: usize) -> Result<(), Error> {
    if class.character() != class.name() {
        let class = class.name().to_owned();
        return Err(Error::AlreadyRotated { class });
    }
    let [upright, turned @ ..] = SUFFIXES;
    rotated.push(format!("{}{upright}", class.name()), class.group(), class.pixels().clone())?;
    let mut planes: Vec<u8> = class.images().collect::<Vec<_>>().concat();
    for suffix in turned {
        planes = quarter_turn(&planes, side);
        rotated.push(format!("{}{suffix}", class.name()), class.group(), planes.clone())?;
    }
    Ok(())
}

/// Turns every plane of `side * side` bytes by 90 degrees counter-clockwise.
fn quarter_turn(planes: &[u8], side: usize) -> Vec<u8> {
    let mut turned = Vec::with_capacity(planes.len());
    for plane in planes.chunks_exact(side * side) {
        for row in 0..side {
            let column = side - 1 - row;
            turned.extend(plane.iter().skip(column).step_by(side));
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::flat;

    #[test]
    fn a_quarter_turn_is_counter_clockwise() {
        // As `numpy.rot90`: the right column becomes the top row. A clockwise turn fails.
        let plane = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(quarter_turn(&plane, 3), [3, 6, 9, 2, 5, 8, 1, 4, 7]);
    }

    #[test]
    fn every_channel_and_image_turns_by_itself() {
        let planes: Vec<u8> = (0..8).collect();
        assert_eq!(quarter_turn(&planes, 2), [1, 3, 0, 2, 5, 7, 4, 6]);
    }

    #[test]
    fn colours_turn_as_planes() {
        // Two pixels side by side, above two others; catches turning interleaved bytes as a plane.
        let mut data = ImageClasses::new([3, 2, 2]).unwrap();
        let pixels = crate::Pixels::from((0..12).collect::<Vec<u8>>()).with_layout(crate::Layout::Interleaved);
        data.push("a", "", pixels).unwrap();
        let rotated = data.with_rotations().unwrap();
        let turned = rotated.classes()[1].image(0).unwrap();
        assert_eq!(*turned, [3, 9, 0, 6, 4, 10, 1, 7, 5, 11, 2, 8]);
    }

    #[test]
    fn each_class_becomes_four() {
        let mut data = ImageClasses::new([1, 2, 2]).unwrap();
        data.push("A/character01", "A", vec![1, 2, 3, 4]).unwrap();
        let rotated = data.with_rotations().unwrap();
        let got: Vec<_> = rotated.classes().iter().collect();
        let names: Vec<_> = got.iter().map(|c| &c.name()["A/character01".len()..]).collect();
        assert_eq!(names, SUFFIXES);
        let images: Vec<_> = got.iter().filter_map(|c| c.image(0)).map(|image| image.into_owned()).collect();
        assert_eq!(images, [[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]]);
        assert!(got.iter().all(|c| c.group() == "A" && c.character() == "A/character01"));
    }

    #[test]
    fn rotating_twice_or_out_of_square_is_an_error() {
        let rotated = flat(&[("A", 1)], 1).with_rotations().unwrap();
        assert!(matches!(rotated.with_rotations(), Err(Error::AlreadyRotated { .. })));
        let wide = ImageClasses::new([1, 2, 3]).unwrap();
        assert!(matches!(wide.with_rotations(), Err(Error::NotSquare { height: 2, width: 3 })));
    }
}
