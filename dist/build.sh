#!/bin/sh
# Makes what dist/nfpm.yaml packages, in build/: dist/build.sh VERSION
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.linkedVersion=$1" -o build/ifmatch .
build/ifmatch man | gzip -9n >build/ifmatch.1.gz
build/ifmatch completion bash >build/ifmatch.bash
build/ifmatch completion zsh >build/_ifmatch
build/ifmatch completion fish >build/ifmatch.fish
