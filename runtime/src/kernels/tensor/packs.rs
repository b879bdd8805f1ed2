//! Values that are packed into a word, saturated: one instruction for two of them; and bytes of words. Operations of our own in cubecl's IR, as those
//! of [`super::copies`].

use cubecl::prelude::*;
use cubecl_core::ir::{CanMaterialize, HasSideEffects, Pure, attributes::IndexAttr, prelude::*};
use cubecl_llvm::shared::to_llvm::{
    ToLLVMDialect,
    prelude::{
        AlignableOpInterface, CastOpWithNNegInterface, GepNoWrapFlags, IntegerType, Signedness, cube_type_to_llvm,
        insert, llvm,
    },
};

/// What values become: signed or unsigned bytes, or signed halves of a word.
const BYTES: usize = 0;
const UNSIGNED: usize = 1;
const HALVES: usize = 2;

/// `a` and `b`, saturated, above each other and below what `c` begins with. (PTX ISA 8.7, section 9.7.9.22, cvt.pack)
#[cube_op(name = "swint.pack")]
#[result_ty(same_as = c)]
#[op_traits(Pure, CanMaterialize)]
struct Pack {
    a: Value,
    b: Value,
    c: Value,
    kind: IndexAttr,
}

#[op_interface_impl]
impl ToLLVMDialect for Pack {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let (a, b, c, kind) = (self.a(ctx), self.b(ctx), self.c(ctx), self.kind(ctx).0);
        let ty = cube_type_to_llvm(ctx, self.get_result(ctx).get_type(ctx));
        let (text, constraints, operands) = match kind {
            BYTES => ("cvt.pack.sat.s8.s32.b32 $0, $1, $2, $3;", "=r,r,r,r", vec![a, b, c]),
            UNSIGNED => ("cvt.pack.sat.u8.s32.b32 $0, $1, $2, $3;", "=r,r,r,r", vec![a, b, c]),
            HALVES => ("cvt.pack.sat.s16.s32 $0, $1, $2;", "=r,r,r", vec![a, b]),
            _ => unreachable!("there are three kinds"),
        };
        let asm = llvm::InlineAsmOp::new(ctx, ty, operands, text, constraints, false);
        rewriter.insert_op(ctx, &asm);
        rewriter.replace_operation_with_values(ctx, self.get_operation(), vec![asm.get_result(ctx)]);
        Ok(())
    }
}

/// [`Pack`].
#[cube]
#[allow(unused_variables)]
fn packed(a: i32, b: i32, c: u32, #[comptime] kind: usize) -> u32 {
    intrinsic!(|scope| {
        let (a, b, c) = (a.read_value(scope), b.read_value(scope), c.read_value(scope));
        let op = Pack::new(scope.ctx_mut(), a, b, c, kind);
        scope.register_with_result(&op).into()
    })
}

/// Four bytes of the eight of `a` and `b`, a's below, which the selector's digits say, the lowest first; 8 more: eight times the byte's sign.
/// (section 9.7.9.7, prmt)
#[cube_op(name = "swint.permute")]
#[result_ty(same_as = a)]
#[op_traits(Pure, CanMaterialize)]
struct Permute {
    a: Value,
    b: Value,
    selector: IndexAttr,
}

#[op_interface_impl]
impl ToLLVMDialect for Permute {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let (a, b, selector) = (self.a(ctx), self.b(ctx), self.selector(ctx).0);
        let ty = cube_type_to_llvm(ctx, self.get_result(ctx).get_type(ctx));
        let text = format!("prmt.b32 $0, $1, $2, {selector};");
        let asm = llvm::InlineAsmOp::new(ctx, ty, vec![a, b], &text, "=r,r,r", false);
        rewriter.insert_op(ctx, &asm);
        rewriter.replace_operation_with_values(ctx, self.get_operation(), vec![asm.get_result(ctx)]);
        Ok(())
    }
}

/// [`Permute`].
#[cube]
#[allow(unused_variables)]
pub(super) fn permute(a: u32, b: u32, #[comptime] selector: usize) -> u32 {
    intrinsic!(|scope| {
        let (a, b) = (a.read_value(scope), b.read_value(scope));
        let op = Permute::new(scope.ctx_mut(), a, b, selector);
        scope.register_with_result(&op).into()
    })
}

/// The byte, or two, that are so many behind the beginning of a word.
#[cube_op(name = "swint.part")]
#[result_ty(same_as = at)]
#[op_traits(CanMaterialize, HasSideEffects)]
struct Part {
    words: Value,
    at: Value,
    bytes: IndexAttr,
}

#[op_interface_impl]
impl ToLLVMDialect for Part {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let (words, at, bytes) = (self.words(ctx), self.at(ctx), self.bytes(ctx).0 as u32);
        let ty = cube_type_to_llvm(ctx, self.get_result(ctx).get_type(ctx));
        let byte: TypeHandle = IntegerType::get(ctx, 8, Signedness::Signless).into();
        let wide = IntegerType::get(ctx, 64, Signedness::Signless).into();
        let at = llvm::ZExtOp::new_with_nneg(ctx, at, wide, false);
        let at = insert(ctx, rewriter, &at);
        let place = llvm::GetElementPtrOp::new_with_no_wrap_flags(
            ctx,
            words,
            vec![llvm::GepIndex::Value(at)],
            byte,
            GepNoWrapFlags::INBOUNDS | GepNoWrapFlags::NUW,
        );
        let place = insert(ctx, rewriter, &place);
        let part = IntegerType::get(ctx, 8 * bytes, Signedness::Signless).into();
        let load = llvm::LoadOp::new(ctx, place, part);
        load.set_alignment(ctx, bytes);
        let load = insert(ctx, rewriter, &load);
        let value = llvm::ZExtOp::new_with_nneg(ctx, load, ty, false);
        let value = insert(ctx, rewriter, &value);
        rewriter.replace_operation_with_values(ctx, self.get_operation(), vec![value]);
        Ok(())
    }
}

/// [`Part`], of one byte or two.
#[cube]
#[allow(unused_variables)]
pub(super) fn part(words: &u32, at: u32, #[comptime] bytes: usize) -> u32 {
    intrinsic!(|scope| {
        let (words, at) = (words.value(scope), at.read_value(scope));
        let op = Part::new(scope.ctx_mut(), words, at, bytes);
        scope.register_with_result(&op).into()
    })
}

/// Four values as bytes of a word, the first in its lowest bits. What no byte has, `signed` or not, becomes the nearest that one has; where neither
/// is said, their lowest eight bits are taken.
#[cube]
pub(super) fn word(a: i32, b: i32, c: i32, d: i32, #[comptime] signed: Option<bool>) -> u32 {
    if comptime!(signed.is_some()) {
        let kind = comptime!(if signed == Some(true) { BYTES } else { UNSIGNED });
        packed(b, a, packed(d, c, 0u32, kind), kind)
    } else {
        let byte = 255u32;
        (u32::cast_from(a) & byte)
            | ((u32::cast_from(b) & byte) << 8u32)
            | ((u32::cast_from(c) & byte) << 16u32)
            | (u32::cast_from(d) << 24u32)
    }
}

/// Two values as 16-bit halves of a word, saturated.
#[cube]
pub(super) fn pair(a: i32, b: i32) -> u32 {
    packed(b, a, 0u32, HALVES)
}
