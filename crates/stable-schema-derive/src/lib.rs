//! `#[derive(StableSchema)]`: the shape of a type as minicbor's derive stores it.
//!
//! The derive macro reads minicbor's own attributes `#[n(…)]`, `#[b(…)]` and `#[cbor(…)]`. An attribute of minicbor
//! whose effect on the bytes is not known here is a compile error.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned as _;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Ident, LitInt, LitStr, Path, Result, Type};

/// Derives `stable_schema::StableSchema` from minicbor's attributes.
#[proc_macro_derive(StableSchema, attributes(n, b, cbor))]
pub fn stable_schema(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    derive(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn derive(input: &DeriveInput) -> Result<Tokens> {
    let name = input.ident.unraw().to_string();
    let container = Attributes::parse(&input.attrs)?;
    let shape = match &input.data {
        Data::Struct(data) if container.transparent => transparent_shape(&data.fields, input)?,
        Data::Struct(data) => {
            let (encoding, fields) = (container.struct_encoding(), describe_fields(&data.fields)?);
            quote! {
                ::stable_schema::Shape::Record(::stable_schema::Record {
                    name: ::std::string::String::from(#name),
                    encoding: ::stable_schema::Encoding::#encoding,
                    fields: #fields,
                })
            }
        }
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let attributes = Attributes::parse(&variant.attrs)?;
                let (number, name) =
                    (attributes.required_number(variant.span())?, variant.ident.unraw().to_string());
                // A variant without an encoding of its own has the enum's.
                let encoding = if attributes.map || attributes.array { &attributes } else { &container };
                let (encoding, fields) = (encoding.struct_encoding(), describe_fields(&variant.fields)?);
                Ok(quote! {
                    ::stable_schema::Variant {
                        number: #number,
                        name: ::std::string::String::from(#name),
                        encoding: ::stable_schema::Encoding::#encoding,
                        fields: #fields,
                    }
                })
            });
            let variants = variants.collect::<Result<Vec<_>>>()?;
            let tag = format_ident!("{}", if container.index_only { "Number" } else { "Pair" });
            quote! {
                ::stable_schema::Shape::Enum(::stable_schema::Enum {
                    name: ::std::string::String::from(#name),
                    tag: ::stable_schema::Tag::#tag,
                    variants: ::std::vec![#(#variants),*],
                })
            }
        }
        Data::Union(_) => return Err(Error::new(input.span(), "a union has no stable schema")),
    };
    let (ident, (generics, arguments, bounds)) = (&input.ident, input.generics.split_for_impl());
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::stable_schema::StableSchema for #ident #arguments #bounds {
            fn shape() -> ::stable_schema::Shape {
                #shape
            }
        }
    })
}

/// Returns the shape of the only field: a transparent struct is stored as that field alone.
fn transparent_shape(fields: &Fields, input: &DeriveInput) -> Result<Tokens> {
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => Ok(Attributes::parse(&field.attrs)?.shape_of(&field.ty)),
        _ => Err(Error::new(input.span(), "a transparent struct has one field")),
    }
}

/// Returns the `stable_schema::Field`s of a struct or a variant. Skipped fields are not stored, and have none.
fn describe_fields(fields: &Fields) -> Result<Tokens> {
    let mut described = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let attributes = Attributes::parse(&field.attrs)?;
        if attributes.skip {
            continue;
        }
        let number = attributes.required_number(field.span())?;
        let name = field.ident.as_ref().map_or_else(|| index.to_string(), |ident| ident.unraw().to_string());
        let (default, shape) = (attributes.default, attributes.shape_of(&field.ty));
        described.push(quote! {
            ::stable_schema::Field {
                number: #number,
                name: ::std::string::String::from(#name),
                default: #default,
                shape: #shape,
            }
        });
    }
    Ok(quote!(::std::vec![#(#described),*]))
}

/// The attributes of minicbor on one type, variant or field. Each flag says whether the attribute of its name is there.
#[derive(Default)]
struct Attributes {
    /// The number in `#[n(…)]` or `#[b(…)]`.
    number: Option<u32>,
    /// The module that encodes the field, if it is not encoded by its type.
    with: Option<Path>,
    default: bool,
    skip: bool,
    map: bool,
    array: bool,
    transparent: bool,
    index_only: bool,
}

impl Attributes {
    fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes {
            let path = attribute.path();
            if path.is_ident("n") || path.is_ident("b") {
                found.number = Some(attribute.parse_args::<LitInt>()?.base10_parse()?);
            } else if path.is_ident("cbor") {
                attribute.parse_nested_meta(|meta| found.read(&meta))?;
            }
        }
        Ok(found)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(Ident::to_string).unwrap_or_default();
        match name.as_str() {
            "n" | "b" => {
                let content;
                syn::parenthesized!(content in meta.input);
                self.number = Some(content.parse::<LitInt>()?.base10_parse()?);
            }
            "with" => self.with = Some(meta.value()?.parse::<LitStr>()?.parse()?),
            "default" => self.default = true,
            "skip" => self.skip = true,
            "map" => self.map = true,
            "array" => self.array = true,
            "transparent" => self.transparent = true,
            "index_only" => self.index_only = true,
            // Bounds of the impl, which do not affect the bytes.
            "bound" | "encode_bound" | "decode_bound" => drop(meta.value()?.parse::<LitStr>()?),
            _ => {
                return Err(
                    meta.error("no stable schema: it is not known how this attribute changes the bytes")
                );
            }
        }
        Ok(())
    }

    fn required_number(&self, span: proc_macro2::Span) -> Result<u32> {
        self.number.ok_or_else(|| Error::new(span, "no stable schema: `#[n(…)]` is missing"))
    }

    /// Returns the name of the `stable_schema::Encoding`; without an attribute, minicbor writes an array.
    fn struct_encoding(&self) -> Ident {
        format_ident!("{}", if self.map { "Map" } else { "Array" })
    }

    /// Returns the shape of a field. With `with = "minicbor::bytes"`, the field is a byte string; any other module in
    /// `with` must have a function `shape` that returns the field's shape.
    fn shape_of(&self, ty: &Type) -> Tokens {
        let is_bytes = |path: &Path| {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            segments == ["minicbor", "bytes"]
        };
        match &self.with {
            None => quote!(<#ty as ::stable_schema::StableSchema>::shape()),
            Some(path) if is_bytes(path) => quote!(<#ty as ::stable_schema::ByteString>::shape()),
            Some(path) => quote!(#path::shape()),
        }
    }
}
