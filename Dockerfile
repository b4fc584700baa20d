# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

# Every package with NeMo, for GPU nodes. `./launch.sh build` makes the image, `./launch.sh run` starts it with the
# checkout mounted at /workspace/bionemo, where the packages are installed editable. torch's wheels bring CUDA.
# Pinned by tag: to pin the bytes too, append the digest that your registry shows (@sha256:...), checked where it is built.
FROM python:3.12.12-slim-bookworm

# A compiler for what torch.compile generates, git for version information.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /workspace/bionemo
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

COPY constraints-nemo.txt requirements-test.txt ./
RUN pip install -c constraints-nemo.txt "$(grep '^torch==' constraints-nemo.txt)" setuptools wheel \
    && pip install -c constraints-nemo.txt "nemo-toolkit[lightning]" megatron-core -r requirements-test.txt

COPY . .
RUN pip install --no-build-isolation -c constraints-nemo.txt \
        -e "sub-packages/bionemo-llm[nemo]" \
        -e sub-packages/bionemo-core \
        -e sub-packages/bionemo-esm2 \
        -e sub-packages/bionemo-example_model \
        -e sub-packages/bionemo-geneformer \
        -e sub-packages/bionemo-scdl \
        -e sub-packages/bionemo-testing \
        -e sub-packages/bionemo-webdatamodule \
        -e sub-packages/bionemo-fw

CMD ["bash"]
