//! `#[derive(Batch)]` for the crate `burn-func`, which re-exports it and documents it at its trait `Batch`.
//!
//! Does not know: tensors, mappers; it writes calls of the trait's one method.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, GenericParam, LitStr, Member, Path, Result, parse_macro_input};

/// Implements `burn_func::Batch` for a struct, field by field in the order of declaration.
///
/// * `#[batch(skip)]` on a field: it is cloned; tensors in it are not seen.
/// * `#[batch(crate = "path::to::burn_func")]` on the struct: where the crate is, if not at `::burn_func`.
#[proc_macro_derive(Batch, attributes(batch))]
pub fn derive_batch(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(data) => return Err(not_a_struct(data.enum_token, "an enum")),
        Data::Union(data) => return Err(not_a_struct(data.union_token, "a union")),
    };
    let krate = crate_path(input)?;
    let fields = fields.iter().enumerate().map(|(at, field)| Part::of(at, field)).collect::<Result<Vec<_>>>()?;

    let name = &input.ident;
    let bounds = bounds(input, &fields, &krate);
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let given = where_clause.map(|clause| clause.predicates.iter().map(ToTokens::to_token_stream).collect::<Vec<_>>());
    let predicates = given.into_iter().flatten().chain(bounds);
    let values = fields.iter().map(|Part { member, skip, .. }| match skip {
        true => quote!(#member: ::core::clone::Clone::clone(&self.#member)),
        false => quote!(#member: #krate::Batch::map(&self.#member, mapper)),
    });
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #krate::Batch for #name #type_generics where #(#predicates),* {
            #[allow(unused_variables)]
            fn map<__BatchMapper: #krate::BatchMapper>(&self, mapper: &mut __BatchMapper) -> Self {
                Self { #(#values),* }
            }
        }
    })
}

fn not_a_struct(token: impl Spanned, what: &str) -> Error {
    let message = format!(
        "`Batch` cannot be derived for {what}: which variant it is would be frozen into a trace. Make it a struct, with \
         `Option`s perhaps, or implement `Batch` by hand and tell the variant to `BatchMapper::structure`"
    );
    Error::new(token.span(), message)
}

/// A field: how to reach it, and what to do with it.
struct Part<'a> {
    field: &'a Field,
    member: Member,
    skip: bool,
}

impl<'a> Part<'a> {
    fn of(at: usize, field: &'a Field) -> Result<Self> {
        let mut skip = false;
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("batch")) {
            attribute.parse_nested_meta(|meta| match meta.path.is_ident("skip") {
                true => {
                    skip = true;
                    Ok(())
                }
                false => Err(meta.error("expected `skip`")),
            })?;
        }
        let member = field.ident.clone().map_or_else(|| Member::Unnamed(at.into()), Member::Named);
        Ok(Self { field, member, skip })
    }
}

fn crate_path(input: &DeriveInput) -> Result<Path> {
    let mut path = syn::parse_str("::burn_func")?;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("batch")) {
        attribute.parse_nested_meta(|meta| match meta.path.is_ident("crate") {
            true => {
                path = meta.value()?.parse::<LitStr>()?.parse()?;
                Ok(())
            }
            false => Err(meta.error("expected `crate = \"..\"`")),
        })?;
    }
    Ok(path)
}

/// What a generic struct must ask of its fields. Of a struct without type parameters the compiler asks by itself, with a
/// better message.
fn bounds(input: &DeriveInput, fields: &[Part], krate: &Path) -> Vec<TokenStream> {
    let is_type = |param: &&GenericParam| matches!(param, GenericParam::Type(_));
    if input.generics.params.iter().filter(is_type).count() == 0 {
        return Vec::new();
    }
    let mapped = fields.iter().filter(|part| !part.skip).map(|part| &part.field.ty);
    let mapped = mapped.map(|ty| quote!(#ty: #krate::Batch));
    let cloned = fields.iter().filter(|part| part.skip).map(|part| &part.field.ty);
    let cloned = cloned.map(|ty| quote!(#ty: ::core::clone::Clone));
    mapped
        .chain(cloned)
        .chain([quote!(Self: ::core::clone::Clone + ::core::marker::Send + ::core::marker::Sync)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn refusal(input: &DeriveInput) -> String {
        expand(input).unwrap_err().to_string()
    }

    #[test]
    fn enums_and_unions_are_refused_with_what_to_do() {
        let message = refusal(&parse_quote! { enum Input { Image(Tensor<4>), Text(Tensor<2>) } });
        assert!(message.starts_with("`Batch` cannot be derived for an enum"), "{message}");
        assert!(message.contains("BatchMapper::structure"), "{message}");
        assert!(refusal(&parse_quote! { union Bits { a: f32, b: u32 } }).contains("a union"));
    }

    #[test]
    fn unknown_attributes_are_refused() {
        assert_eq!(refusal(&parse_quote! { struct A { #[batch(ignore)] x: u8 } }), "expected `skip`");
        assert_eq!(refusal(&parse_quote! { #[batch(path = "x")] struct A; }), "expected `crate = \"..\"`");
    }

    #[test]
    fn fields_are_mapped_in_order_and_skipped_ones_cloned() {
        let input = parse_quote! { #[batch(crate = "x::y")] struct A { a: T, #[batch(skip)] b: U, c: V } };
        let text = expand(&input).unwrap().to_string().replace(' ', "");
        let body = "Self{a:x::y::Batch::map(&self.a,mapper),b:::core::clone::Clone::clone(&self.b),c:x::y::Batch::map(&self.c,mapper)}";
        assert!(text.contains(body), "{text}");
        assert!(text.contains("impl x::y::BatchforA".replace(' ', "").as_str()), "{text}");
    }
}
