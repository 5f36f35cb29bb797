"""What MindSpore's Ascend front end needs of CANN in order to start on a machine without Ascend.

MindSpore's simulation mode (`MS_SIMULATION_LEVEL`) compiles any rank's program without a device, but its libraries are
linked against CANN's. Where no CANN is installed, stand-ins are built: libraries with the same symbols, whose functions
return 0. They compute nothing; level 0 only compiles, level 1 plans every operator and its memory as well. Real CANN is
used where it is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pangu_alpha.errors import CompileError
from pangu_alpha.files import aside_of, cache_folder, is_sealed, seal

Level = Literal[0, 1]
"""Of MindSpore's simulation. 0: compile. 1: also plan the operators, and with them the device memory."""

_CLASSES = Path(__file__).with_name("ge_standin.cpp")
_MEMORY = Path(__file__).with_name("device_memory.cpp")
_MEMORY_GIB = 2048
"""What a simulated device claims to have: more than any program, so that a program that does not fit is planned too."""

# Symbols of other origin that the plugins leave undefined: Python's, the compiler's and the thread library's.
_NOT_CANN = ("Py", "_Py", "GOMP", "omp_", "_ZTH", "_ITM", "__gmon", "__stack", "_Jv")
_SYSTEM_LIBRARIES = (
    "libstdc++.so.6 libgcc_s.so.1 libm.so.6 libgomp.so.1 libpthread.so.0 libdl.so.2 librt.so.1 libc.so.6"
)
_STATUS_FACTORY = "_ZN2ge13StatusFactory8InstanceEv"
_ANSWERS = {
    _STATUS_FACTORY: "void* F(void) { static std::map<uint32_t, std::string> m; return &m; }",
    "aclrtGetSocName": 'const char* F(void) { return getenv("PANGU_ALPHA_SOC"); }',
    "aclGetRecentErrMsg": 'const char* F(void) { return ""; }',
    "aclrtGetDeviceCount": "int F(unsigned* c) { *c = 8; return 0; }",
    "aclrtGetDevice": "int F(int* d) { *d = 0; return 0; }",
    "aclrtGetRunMode": "int F(int* m) { *m = 1; return 0; }",
    "aclrtGetMemInfo": f"int F(int, size_t* f, size_t* t) {{ *f = *t = {_MEMORY_GIB}ull << 30; return 0; }}",
    "aclrtMallocHost": "int F(void** p, size_t n) { *p = malloc(n); return 0; }",
    "aclrtFreeHost": "int F(void* p) { free(p); return 0; }",
    "aclrtDeviceGetStreamPriorityRange": "int F(int* a, int* b) { *a = 7; *b = 0; return 0; }",
}
"""Functions whose result MindSpore looks at, `F` standing for the name. All others return 0, or some zeroed memory."""

_OPERATOR_SUPPORT = (
    *(
        f"acl{verb}{kind}"
        for verb in ("Create", "Destroy")
        for kind in ("Tensor", "Scalar", "IntArray", "FloatArray", "BoolArray", "TensorList", "ScalarList")
    ),
    *["aclnnInit", "aclnnFinalize", "aclDestroyAclOpExecutor", "aclSetAclOpExecutorRepeatable", "aclSetTensorAddr"],
    *["aclSetDynamicTensorAddr", "aclSetInputTensorAddr", "aclSetOutputTensorAddr", "AclSetTensorAddr"],
    *["AclSetDynamicTensorAddr", "InitHugeMemThreadLocal", "UnInitHugeMemThreadLocal", "ReleaseHugeMem"],
    *["InitPTACacheThreadLocal", "SetPTAHashKey", "CanUsePTACache", "PTAGetExecCache", "PTAFindExecCache"],
    *["InitCacheThreadLocal", "InitL0DfxRecorder"],
)
"""What the operators' library has besides the operators themselves."""


def soc_for(compute_dtype: str) -> str:
    """The oldest chip that computes in a type, as MindSpore calls it."""
    return "Ascend910B1" if compute_dtype == "bfloat16" else "Ascend910A"


def simulated_environment(
    rank: int, num_ranks: int, level: Level, soc: str = "Ascend910A", has_memory: bool = False
) -> dict[str, str]:
    """Every environment variable of a process in which MindSpore plays `rank` of `num_ranks` Ascend devices.

    The stand-in is built at the first call (some 10 s) and kept in ~/.cache/pangu_alpha/standin.

    Args:
        level: of the simulation.
        soc: the chip that the stand-in claims to be; a real CANN says it itself.
        has_memory: whether what is written to the device can be read back (level 1 only).

    Raises:
        CompileError: a tool to build the stand-in with is missing, or the build fails.
    """
    environment = {
        **os.environ,
        "MS_SIMULATION_LEVEL": str(level),
        "RANK_SIZE": str(num_ranks),
        "RANK_ID": str(rank),
        "PANGU_ALPHA_SOC": soc,
    }
    is_standin = real_cann(os.environ) is None
    home = build_standin() if is_standin or has_memory else Path()
    if has_memory:
        environment["LD_PRELOAD"] = _prepend(home / "libdevice_memory.so", environment.get("LD_PRELOAD"))
    if is_standin:
        environment |= {name: str(home / "cann") for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")}
        environment["ASCEND_OPP_PATH"] = str(home / "cann" / "opp")
        # MindSpore asks for ".../lib64/..." in the path of libascendcl.so.
        environment["LD_LIBRARY_PATH"] = _prepend(home / "cann" / "lib64", os.environ.get("LD_LIBRARY_PATH"))
        environment["PYTHONPATH"] = _prepend(home / "python", os.environ.get("PYTHONPATH"))
        environment["LD_PRELOAD"] = _prepend(home / "libge_standin.so", environment.get("LD_PRELOAD"))
    return environment


def real_cann(environment: Mapping[str, str]) -> Path | None:
    """The folder of an installed CANN whose set_env.sh has been sourced in `environment`, or None."""
    home = environment.get("ASCEND_HOME_PATH")
    return Path(home) if home and (Path(home) / "lib64" / "libascendcl.so").exists() else None


def build_standin() -> Path:
    """The folder of the stand-in for the installed MindSpore, built if it is not there yet.

    Several processes may call it at once: each builds aside, and the first to be done is used by all. One of which a
    file is missing or damaged is built again.

    Raises:
        CompileError: g++ or nm is missing or fails; the message names the package to install.
    """
    sources = (Path(__file__), _CLASSES, _MEMORY)
    source = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    cache = cache_folder() / "standin"
    home = cache / f"mindspore-{version('mindspore')}-{source}"
    if is_sealed(home, source):
        return home
    for tool, package in (("g++", "g++ (Debian, Ubuntu) or gcc-c++ (openEuler, CentOS)"), ("nm", "binutils")):
        if shutil.which(tool) is None:
            raise CompileError(
                f"{tool} is not here: stand-ins for CANN's libraries are built with it once. "
                f"Install the package {package}, or CANN itself, and source its set_env.sh"
            )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        aside = aside_of(home)
        aside.mkdir()
        try:
            _build_all(aside)
            seal(aside, source)
            if not is_sealed(home, source):
                shutil.rmtree(home, ignore_errors=True)
                aside.rename(home)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if not is_sealed(home, source):  # else another process was first
            raise CompileError(
                f"the stand-in for CANN cannot be written to {cache}: {error}. Set XDG_CACHE_HOME to another folder"
            ) from error
    return home


def _build_all(home: Path) -> None:
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None:
        raise CompileError("MindSpore is not installed: pip install mindspore==2.10.0")
    libraries = Path(spec.origin).parent / "lib"
    plugins = [libraries / "plugin" / name for name in ("libmindspore_ascend.so.2", "libmindspore_ops_ascend.so")]
    loaded = [*plugins, *sorted((libraries / "plugin" / "ascend").rglob("*.so*"))]
    undefined = _symbols(loaded, "--undefined-only")
    defined = _symbols([*libraries.glob("*.so*"), *loaded, *_system_libraries()], "--defined-only")
    linked = {name for name in undefined - defined if not name.startswith(_NOT_CANN)}
    # These libraries' functions are looked up by name at run time: the names are strings in MindSpore's plugins.
    manager = libraries / "plugin" / "ascend" / "libmindspore_ascend_res_manager.so"
    runtime = _strings(manager, rb"(?:acl|Hccl)\w+") - {"acl_data", "acl_get_recent_err_msg"}
    runtime |= _ANSWERS.keys() - {_STATUS_FACTORY}
    operators = _strings(plugins[1], rb"aclnn\w+")
    operators |= {f"{name}GetWorkspaceSize" for name in operators if not name.endswith("GetWorkspaceSize")}
    operators |= set(_OPERATOR_SUPPORT)
    folder = home / "cann" / "lib64"
    (folder / "driver").mkdir(parents=True)
    _build_library(folder / "libge_runner.so", linked | _ANSWERS.keys())
    for name in ("ascendcl", "acl_op_compiler", "msprofiler", "acl_tdt_channel", "hccl"):
        _build_library(folder / f"lib{name}.so", runtime)
    for name in ("opapi", "nnopbase"):
        _build_library(folder / f"lib{name}.so", operators)
    for name in ("graph", "runtime", "platform", "c_sec", "ascend_hal", "driver/libascend_hal"):
        _build_library(folder / (f"{name}.so" if "/" in name else f"lib{name}.so"), ())
    for source, name in ((_CLASSES, "libge_standin.so"), (_MEMORY, "libdevice_memory.so")):
        _run("g++", "-std=c++17", "-O1", "-w", "-D_GLIBCXX_USE_CXX11_ABI=0", "-fPIC", "-shared", str(source), "-o",
             str(home / name))  # fmt: skip
    # MindSpore reads the version of HCCL's Python package and refuses to start without one.
    (home / "python" / "hccl").mkdir(parents=True)
    (home / "python" / "hccl" / "__init__.py").write_text("class sys_version:\n    __sys_version__ = '8.3.0'\n")


def _build_library(path: Path, names: Iterable[str]) -> None:
    headers = "".join(f"#include <{name}>\n" for name in ("cstdint", "cstdlib", "map", "string"))
    functions = "\n".join(_function(name) for name in sorted(names))
    source = path.with_suffix(".cpp")
    source.write_text(f'{headers}extern "C" {{\n{functions}\n}}\n')
    _run("g++", "-O1", "-w", "-fPIC", "-fno-builtin", "-shared", str(source), "-o", str(path),
         f"-Wl,-soname,{path.name}")  # fmt: skip
    source.unlink()


def _function(name: str) -> str:
    if name in _ANSWERS:
        return _ANSWERS[name].replace("F(", f"{name}(", 1)
    if "Instance" in name:
        return f"void* {name}(void) {{ static long m[1024]; return m; }}"
    if re.match(r"aclrtCreate(Context|Event|Stream)|aclrtGetCurrentContext", name):
        return f"int {name}(void** p) {{ static long h[64]; *p = h; return 0; }}"
    if re.match(r"acl(op|mdl|prof)?Create|aclrtAllocatorCreateDesc|aclGetDataBufferAddr|aclmdlGetDatasetBuffer", name):
        return f"void* {name}(void) {{ static long h[512]; return h; }}"
    return f"long {name}(void) {{ return 0; }}"


def _symbols(libraries: Iterable[Path], which: str) -> set[str]:
    lines = _run("nm", "-D", which, *map(str, libraries)).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.strip() and not line.endswith(":")}


def _strings(library: Path, pattern: bytes) -> set[str]:
    return {match.decode() for match in re.findall(rb"(?<![ -~])" + pattern + rb"(?=\0)", library.read_bytes())}


def _system_libraries() -> list[Path]:
    """The C and C++ libraries, whose symbols are not CANN's."""
    folders = [Path(folder) for folder in ("/lib", "/usr/lib", "/lib64", "/usr/lib64")]
    names = [*_SYSTEM_LIBRARIES.split(), "ld-linux*.so.*"]
    return [path for folder in folders for name in names for path in (*folder.glob(name), *folder.glob(f"*/{name}"))]


def _run(*command: str) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise CompileError(
            f"the stand-in for CANN cannot be built: {command[0]} ended with code {result.returncode}:\n"
            f"{result.stderr.strip()[-2000:]}"
        )
    return result.stdout


def _prepend(path: Path, paths: str | None) -> str:
    return f"{path}:{paths}" if paths else str(path)
