"""Static archives that stand in for CUDA's shared libraries and open them when they are first called.

Each function is one jump through a slot, as in a procedure linkage table. At first a slot leads to a thunk that
pushes the function's number and goes to the library's resolver; the resolver keeps the registers that may hold arguments, has
the C part look the function up, stores it in the slot and goes on to it. Where the library or the function is missing, the
slot gets a function that returns the library's own error code, so that `cuInit` fails and the program takes the CPU. What
names an error says which library is missing.
"""

import re
import subprocess
from dataclasses import dataclass


@dataclass
class Library:
    """Where a library is looked for, and what its functions return where it is missing."""

    sonames: list
    error: int


LIBRARIES = {
    "cuda": Library(["libcuda.so.1"], 34),  # CUDA_ERROR_STUB_LIBRARY
    "cublas": Library(["libcublas.so.13"], 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    "cublasLt": Library(["libcublasLt.so.13"], 1),  # the same
    "curand": Library(["libcurand.so.10"], 203),  # CURAND_STATUS_INITIALIZATION_FAILED
    "nvrtc": Library(["libnvrtc.so.13"], 11),  # NVRTC_ERROR_INTERNAL_ERROR
}

# What the System V ABI passes arguments in (rax: how many vector registers a variadic call uses).
INTEGERS = ["rax", "rdi", "rsi", "rdx", "rcx", "r8", "r9"]
VECTORS = [f"xmm{i}" for i in range(8)]

RESOLVER_IN_C = """\
#include <dlfcn.h>
#include <stddef.h>

extern void *{library}_slots[] __attribute__((visibility("hidden")));

static const char *const functions[] = {{{functions}}};
static const char *const files[] = {{{files}}};
static const char says[] = "{soname} was not found";

/* What stands in for a function: most return a status, those that name an error return a text or put it where they are told. */
static long status(void) {{ return {error}; }}
static const char *text(void) {{ return says; }}
static long text_at(int error, const char **where) {{ (void)error; *where = says; return 0; }}
static void *const stand_ins[] = {{(void *)status, (void *)text, (void *)text_at}};
static const char kinds[] = {{{kinds}}};

/* Two threads may do the same at the same time: both find the same. */
__attribute__((visibility("hidden"))) void *{library}_resolve(long index) {{
    void *library = NULL, *function = NULL;
    for (size_t i = 0; !library && i < sizeof files / sizeof *files; i++) library = dlopen(files[i], RTLD_NOW);
    if (library) function = dlsym(library, functions[index]);
    if (!function) function = stand_ins[(int)kinds[index]];
    __atomic_store_n(&{library}_slots[index], function, __ATOMIC_RELEASE);
    return function;
}}
"""


def build(dest, library, spec, functions):
    """Makes lib/lib{library}.so in `dest`: a linker script that names the archive of trampolines."""
    folder = dest / "trampolines"
    folder.mkdir(exist_ok=True)
    (folder / f"{library}.s").write_text(assembly(library, functions))
    (folder / f"{library}_resolve.c").write_text(
        RESOLVER_IN_C.format(
            library=library,
            functions=", ".join(f'"{name}"' for name in functions),
            files=", ".join(f'"{name}"' for name in spec.sonames),
            error=spec.error,
            soname=spec.sonames[0],
            kinds=", ".join(str(kind(library, name)) for name in functions),
        )
    )
    objects = []
    for source in (f"{library}.s", f"{library}_resolve.c"):
        objects.append(folder / f"{source}.o")
        subprocess.run(["cc", "-O2", "-fPIC", "-c", folder / source, "-o", objects[-1]], check=True)
    archive = folder / f"lib{library}_trampolines.a"
    subprocess.run(["ar", "rcs", archive, *objects], check=True)
    (dest / "lib" / f"lib{library}.so").write_text(f"INPUT({archive} -ldl)\n")


def kind(library, function):
    """Which of the resolver's stand-ins fits: 0 a status, 1 a text that is returned, 2 the driver's way, through a pointer."""
    if re.search(r"Get(Status|Error)(Name|String)$", function) is None:
        return 0
    return 2 if library == "cuda" else 1


def assembly(library, functions):
    """Functions, thunks, slots and the resolver's entry."""
    lines = [".text"]
    for index, name in enumerate(functions):
        lines += [
            f".globl {name}",
            f".type {name}, @function",
            f"{name}: jmp *{library}_slots+{8 * index}(%rip)",
            f".L{index}: pushq ${index}",
            f" jmp {library}_enter",
        ]
    # At entry the stack holds the number and the return address, so it is 16-aligned; seven registers and 8 bytes more keep it so.
    room = 16 * len(VECTORS) + 8
    lines += [f"{library}_enter:", *(f" pushq %{register}" for register in INTEGERS), f" subq ${room}, %rsp"]
    lines += [f" movups %{register}, {16 * i}(%rsp)" for i, register in enumerate(VECTORS)]
    lines += [f" movq {room + 8 * len(INTEGERS)}(%rsp), %rdi", f" call {library}_resolve", " movq %rax, %r11"]
    lines += [f" movups {16 * i}(%rsp), %{register}" for i, register in enumerate(VECTORS)]
    lines += [f" addq ${room}, %rsp", *(f" popq %{register}" for register in reversed(INTEGERS))]
    lines += [" addq $8, %rsp", " jmp *%r11"]
    lines += [".section .data.rel.local, \"aw\"", ".balign 8", f".globl {library}_slots", f".hidden {library}_slots"]
    lines += [f"{library}_slots:", *(f" .quad .L{index}" for index in range(len(functions)))]
    lines += ['.section .note.GNU-stack, "", @progbits', ""]
    return "\n".join(lines)
