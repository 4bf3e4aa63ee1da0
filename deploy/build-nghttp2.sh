#!/bin/sh
# Installs libnghttp2 for wheels: static, in position-independent code, with what linking bebr._front needs beside it.
#
#   build-nghttp2.sh [PREFIX]      PREFIX: /usr/local. NGHTTP2_SOURCE: another place to take the repository from
set -eu
prefix=${1:-/usr/local}
release=ac22e0efe3f82f43c1366961c89a50ee821cfba3 # v1.66.0
source=${NGHTTP2_SOURCE:-https://github.com/nghttp2/nghttp2}
if command -v dnf >/dev/null; then dnf install -y openssl-devel pkgconf-pkg-config; fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
git init -q .
git fetch -q --depth 1 "$source" "$release" # a commit's name is a digest of what it holds
git checkout -q FETCH_HEAD
cmake -S . -B build -DENABLE_LIB_ONLY=ON -DENABLE_DOC=OFF -DBUILD_TESTING=OFF -DBUILD_SHARED_LIBS=OFF -DBUILD_STATIC_LIBS=ON \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_PREFIX="$prefix"
cmake --build build -j 4
cmake --install build
