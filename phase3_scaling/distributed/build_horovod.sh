#!/bin/sh
# Builds Horovod for CPUs from its source package and installs it; `make horovod` calls it with the
# environment's Python. Takes a C++ compiler, make, and about six minutes of one core.
#
# 0.28.1 (2023) is the last release. Its CMake files ask for C++14, torch's headers for C++20; and
# where part of a CUDA toolkit lies about they would build for CUDA. Both are said in three lines,
# which are changed. Its setup.py wants setuptools and CMake of its time: they stand in an
# environment of their own that sees the torch of the other one.
set -eu
python=$1
version=0.28.1
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in c++ make tar; do
    command -v "$tool" > /dev/null || { echo "error: building Horovod needs $tool" >&2; exit 2; }
done
"$python" -m venv "$work/build"
built_with="$work/build/bin/python"
"$built_with" -m pip install -q 'setuptools<81' wheel 'cmake<4' packaging cloudpickle pyyaml psutil
torch=$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").origin)')
dirname "$(dirname "$torch")" > "$("$built_with" -c 'import site; print(site.getsitepackages()[0])')/torch.pth"

"$built_with" -m pip download -q --no-deps --no-binary horovod --no-build-isolation \
    --dest "$work" "horovod==$version"
tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
cd "$work/horovod-$version"
sed -i 's/CMAKE_CXX_STANDARD 14/CMAKE_CXX_STANDARD 20/' CMakeLists.txt horovod/torch/CMakeLists.txt
sed -i 's/string(TOUPPER "${Pytorch_CUDA}" Pytorch_CUDA)/set(Pytorch_CUDA FALSE)/' \
    cmake/Modules/FindPytorch.cmake
grep -q 'set(Pytorch_CUDA FALSE)' cmake/Modules/FindPytorch.cmake

echo "building Horovod $version (about six minutes)"
PATH="$work/build/bin:$PATH" CXXFLAGS="-g0 -w" \
    HOROVOD_WITH_PYTORCH=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1 \
    HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 \
    "$built_with" -m pip wheel -q --no-build-isolation --no-deps --wheel-dir "$work" .
"$python" -m pip install -q --no-deps --force-reinstall "$work"/horovod-*.whl
"$python" -m pip install -q -c "$root/constraints.txt" cloudpickle psutil pyyaml packaging
cd /
"$python" -c 'import horovod.torch as hvd; assert hvd.gloo_built(); print("Horovod is ready")'
