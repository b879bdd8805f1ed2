//! Operations of our own in cubecl's IR.
//!
//! cubecl's frontend has none that becomes these instructions, and LLVM finds them in no others. But the IR is open to operations of
//! others, as long as they say what they become in LLVM's.

use cubecl::prelude::*;
use cubecl_core::ir::{CanMaterialize, Pure, prelude::*};
use cubecl_llvm::shared::{
    intrinsic::call_op,
    to_llvm::{
        ToLLVMDialect,
        prelude::{BinArithOp, cube_type_to_llvm, llvm, llvm_mangled_ty},
    },
};

/// `sums[i] + Σⱼ x[4i+j] · w[4i+j]`, of unsigned x and signed w, modulo 2^32 (Intel, *Instruction Set Reference*, VPDPBUSD).
#[cube_op(name = "swint.vpdpbusd")]
#[result_ty(same_as = sums)]
#[op_traits(Pure, CanMaterialize)]
struct Vpdpbusd {
    sums: Value,
    x: Value,
    w: Value,
}

#[op_interface_impl]
impl ToLLVMDialect for Vpdpbusd {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let operands = vec![self.sums(ctx), self.x(ctx), self.w(ctx)];
        // LLVM has it of 256 bits for processors with AVX-VNNI, too.
        let names = [("v16i32", "llvm.x86.avx512.vpdpbusd.512"), ("v8i32", "llvm.x86.avx512.vpdpbusd.256")];
        call(self, ctx, rewriter, &names, operands)
    }
}

/// `table[i]` for each byte i: of a table of 128 bytes the lower half is `a` and the upper one `b`; the highest bit of an index says
/// nothing (VPERMI2B).
#[cube_op(name = "swint.vpermi2b")]
#[result_ty(same_as = a)]
#[op_traits(Pure, CanMaterialize)]
struct Vpermi2b {
    a: Value,
    indices: Value,
    b: Value,
}

#[op_interface_impl]
impl ToLLVMDialect for Vpermi2b {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let operands = vec![self.a(ctx), self.indices(ctx), self.b(ctx)];
        call(self, ctx, rewriter, &[("v64i8", "llvm.x86.avx512.vpermi2var.qi.512")], operands)
    }
}

/// Makes an operation that has one result a call of LLVM's intrinsic for the type of the result.
fn call(
    op: &impl OneResultInterface,
    ctx: &mut Context,
    rewriter: &mut DialectConversionRewriter,
    names: &[(&str, &str)],
    operands: Vec<Value>,
) -> Result<()> {
    let ty = cube_type_to_llvm(ctx, op.get_result(ctx).get_type(ctx));
    let of = llvm_mangled_ty(ctx, ty);
    let name = names.iter().find(|(ty, _)| *ty == of).unwrap_or_else(|| panic!("there is an instruction for {of}")).1;
    let call = call_op(ctx, name, ty, operands);
    rewriter.insert_op(ctx, &call);
    rewriter.replace_operation_with_values(ctx, op.get_operation(), vec![call.get_result(ctx)]);
    Ok(())
}

/// `v >> by` of signed integers. cubecl 0.11 shifts vectors of signed integers as if they were unsigned.
#[cube_op(name = "swint.ashr")]
#[result_ty(same_as = v)]
#[op_traits(Pure, CanMaterialize)]
struct ShiftSigned {
    v: Value,
    by: Value,
}

#[op_interface_impl]
impl ToLLVMDialect for ShiftSigned {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let (v, by) = (self.v(ctx), self.by(ctx));
        let shift = llvm::AShrOp::new(ctx, v, by);
        rewriter.insert_op(ctx, &shift);
        rewriter.replace_operation_with_values(ctx, self.get_operation(), vec![shift.get_result(ctx)]);
        Ok(())
    }
}

/// The upper halves of the 64-bit products of 16 signed integers.
///
/// LLVM makes one instruction of a 64-bit product (VPMULDQ) where it sees that its factors have 32 bits. It does not where one of them
/// does not change in a loop and is widened before it, and then takes three times as long.
#[cube_op(name = "swint.upper_half")]
#[result_ty(same_as = a)]
#[op_traits(Pure, CanMaterialize)]
struct UpperHalf {
    a: Value,
    b: Value,
}

#[op_interface_impl]
impl ToLLVMDialect for UpperHalf {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let (a, b) = (self.a(ctx), self.b(ctx));
        let ty = cube_type_to_llvm(ctx, self.get_result(ctx).get_type(ctx));
        let even = even_products(ctx, rewriter, ty, a, b);
        let [a, b] = [a, b].map(|v| shuffled(ctx, rewriter, [v, v], |lane| lane | 1));
        let odd = even_products(ctx, rewriter, ty, a, b);
        let upper = shuffled(ctx, rewriter, [even, odd], |lane| if lane % 2 == 0 { lane + 1 } else { 16 + lane });
        rewriter.replace_operation_with_values(ctx, self.get_operation(), vec![upper]);
        Ok(())
    }
}

/// The 64-bit products of the even ones of 16 signed integers.
fn even_products(
    ctx: &mut Context,
    rewriter: &mut DialectConversionRewriter,
    ty: TypeHandle,
    a: Value,
    b: Value,
) -> Value {
    let product = llvm::InlineAsmOp::new(ctx, ty, vec![a, b], "vpmuldq $2, $1, $0", "=v,v,v", false);
    rewriter.insert_op(ctx, &product);
    product.get_result(ctx)
}

/// The elements of two vectors of 16 that each lane is given.
fn shuffled(
    ctx: &mut Context,
    rewriter: &mut DialectConversionRewriter,
    [a, b]: [Value; 2],
    from: impl Fn(i32) -> i32,
) -> Value {
    let shuffle = llvm::ShuffleVectorOp::new(ctx, a, b, (0..16).map(from).collect());
    rewriter.insert_op(ctx, &shuffle);
    shuffle.get_result(ctx)
}

/// [`Vpdpbusd`]. x and w have four elements for each of `sums`.
#[cube]
#[allow(unused_variables)]
pub(super) fn dot<L: Size, B: Size>(sums: Vector<i32, L>, x: Vector<u8, B>, w: Vector<i8, B>) -> Vector<i32, L> {
    intrinsic!(|scope| {
        let (sums, x, w) = (sums.read_value(scope), x.read_value(scope), w.read_value(scope));
        let op = Vpdpbusd::new(scope.ctx_mut(), sums, x, w);
        scope.register_with_result(&op).into()
    })
}

/// 64 bytes.
pub(super) type Bytes = Vector<u8, Const<64>>;

/// [`Vpermi2b`].
#[cube]
#[allow(unused_variables)]
fn permute(a: Bytes, indices: Bytes, b: Bytes) -> Bytes {
    intrinsic!(|scope| {
        let (a, indices, b) = (a.read_value(scope), indices.read_value(scope), b.read_value(scope));
        let op = Vpermi2b::new(scope.ctx_mut(), a, indices, b);
        scope.register_with_result(&op).into()
    })
}

/// The byte at i for each i of `indices`, of the table of 256 bytes that begins at vector `at`.
#[cube]
pub(super) fn look_up(table: &[Bytes], #[comptime] at: usize, indices: Bytes) -> Bytes {
    let lower = permute(table[at], indices, table[comptime!(at + 1)]);
    let upper = permute(table[comptime!(at + 2)], indices, table[comptime!(at + 3)]);
    select_many(indices.greater_equal(&Bytes::new(128u8)), upper, lower)
}

/// [`UpperHalf`].
#[cube]
#[allow(unused_variables)]
pub(super) fn upper_half<N: Size>(a: Vector<i32, N>, b: Vector<i32, N>) -> Vector<i32, N> {
    intrinsic!(|scope| {
        let (a, b) = (a.read_value(scope), b.read_value(scope));
        let op = UpperHalf::new(scope.ctx_mut(), a, b);
        scope.register_with_result(&op).into()
    })
}

/// [`ShiftSigned`].
#[cube]
#[allow(unused_variables)]
pub(super) fn shift_signed<N: Size>(v: Vector<i32, N>, by: Vector<i32, N>) -> Vector<i32, N> {
    intrinsic!(|scope| {
        let (v, by) = (v.read_value(scope), by.read_value(scope));
        let op = ShiftSigned::new(scope.ctx_mut(), v, by);
        scope.register_with_result(&op).into()
    })
}
