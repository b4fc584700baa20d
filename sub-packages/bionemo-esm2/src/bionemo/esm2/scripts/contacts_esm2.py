# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``contacts_esm2``: proteins to contact maps, compared with structures."""

import sys

from bionemo.core.command import command
from bionemo.esm2.contacts.config import ContactsESM2Config
from bionemo.llm.training.third_party_warnings import silence_third_parties


main = command(
    ContactsESM2Config,
    "bionemo.esm2.contacts.run:predict_contacts",
    prog="contacts_esm2",
    prepare=silence_third_parties,
    example="contacts_esm2 --checkpoint-path facebook/esm2_t33_650M_UR50D \\\n    --data-path proteins.fasta "
    "--results-path contacts",
)


if __name__ == "__main__":
    sys.exit(main())
