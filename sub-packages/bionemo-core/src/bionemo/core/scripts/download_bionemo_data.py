# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""``download_bionemo_data``: download a model or data file of the catalogue, or list them."""

import sys

from bionemo.core.data._load_command import download_command


main = download_command("bionemo.core.data.load:download")


if __name__ == "__main__":
    sys.exit(main())
