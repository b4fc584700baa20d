# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
import pickle
import sqlite3
import threading

import lightning.pytorch as pl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bionemo.core.data.multi_epoch_dataset import EpochIndex
from bionemo.core.errors import DataError, FormatError
from bionemo.esm2.data.datamodule import ESMDataModule
from bionemo.esm2.data.dataset import (
    ESMMaskedResidueDataset,
    ProteinSQLiteDataset,
    create_train_dataset,
    create_valid_clusters,
    create_valid_dataset,
)
from bionemo.esm2.data.packed_dataset import PackedProteinDataset, build_masking
from bionemo.esm2.data.sqlite_dataset import SQLiteSequenceSource
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.llm.data.masking import BertMaskConfig, apply_bert_pretraining_mask


SEQUENCES = {f"UniRef90_{i:02d}": "MKTAYIAKQRQISFVKSHFSRQ"[: 3 + i] * (1 + i // 4) for i in range(12)}
CLUSTERS = [["UniRef90_00", "UniRef90_01", "UniRef90_11"], ["UniRef90_02"], [f"UniRef90_{i:02d}" for i in range(3, 8)]]


@pytest.fixture
def files(tmp_path):
    with sqlite3.connect(tmp_path / "proteins.db") as connection:
        connection.execute("CREATE TABLE protein (id TEXT PRIMARY KEY, sequence TEXT)")
        connection.executemany("INSERT INTO protein VALUES (?, ?)", SEQUENCES.items())
    connection.close()
    pq.write_table(pa.table({"ur90_id": CLUSTERS}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"ur50_id": list(SEQUENCES)}), tmp_path / "valid.parquet")
    return tmp_path


def test_sequences_by_id(files):
    dataset = ProteinSQLiteDataset(files / "proteins.db")
    assert len(dataset) == 12
    assert dataset["UniRef90_04"] == SEQUENCES["UniRef90_04"]
    names = ["UniRef90_03", "UniRef90_00", "UniRef90_03"]
    assert dataset.fetch(names) == [SEQUENCES[name] for name in names]
    assert dataset.fetch_lengths(names).tolist() == [len(SEQUENCES[name]) for name in names]
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 our own bytes
    found = []
    thread = threading.Thread(target=lambda: found.append(copy["UniRef90_00"]))
    thread.start()
    thread.join()
    assert found == [SEQUENCES["UniRef90_00"]]
    with pytest.raises(DataError, match=r"proteins\.db: there is no protein with id 'nobody'"):
        dataset["nobody"]
    with pytest.raises(TypeError, match="Protein ids are text, got 4"):
        dataset[4]
    assert sorted(path.name for path in files.iterdir()) == ["proteins.db", "train.parquet", "valid.parquet"]


def test_more_ids_than_a_query_takes(tmp_path):
    names = [f"p{i}" for i in range(2000)]
    with sqlite3.connect(tmp_path / "proteins.db") as connection:
        connection.execute("CREATE TABLE protein (id TEXT PRIMARY KEY, sequence TEXT)")
        connection.executemany("INSERT INTO protein VALUES (?, ?)", [(name, name.upper()) for name in names])
    connection.close()
    assert ProteinSQLiteDataset(tmp_path / "proteins.db").fetch(names[::-1]) == [name.upper() for name in names[::-1]]


def test_the_sample_is_drawn_as_documented(files):
    proteins = ProteinSQLiteDataset(files / "proteins.db")
    dataset = ESMMaskedResidueDataset(proteins, CLUSTERS, seed=5, max_seq_length=6)
    sample = dataset[EpochIndex(3, 2)]
    rng = np.random.default_rng([5, 3, 2])
    ids = get_tokenizer().encode(SEQUENCES[CLUSTERS[2][int(rng.integers(5))]])
    start = int(rng.integers(len(ids) - 6 + 1))
    mask_seed = int(rng.integers(np.iinfo(np.int64).max))
    config = BertMaskConfig(tokenizer=get_tokenizer(), random_tokens=range(4, 31))
    text, labels, loss_mask = apply_bert_pretraining_mask(torch.tensor(ids[start : start + 6]), mask_seed, config)
    assert torch.equal(sample["text"], text)
    assert torch.equal(sample["labels"], labels)
    assert torch.equal(sample["loss_mask"], loss_mask)
    assert sample["attention_mask"].tolist() == [1] * 6
    assert sample["types"].sum() == sample["is_random"].sum() == 0


def test_errors_of_samples(files):
    proteins = ProteinSQLiteDataset(files / "proteins.db")
    with pytest.raises(IndexError, match="cluster 3 is out of range"):
        ESMMaskedResidueDataset(proteins, CLUSTERS)[EpochIndex(0, 3)]
    with pytest.raises(ValueError, match="Cluster 0 is empty"):
        ESMMaskedResidueDataset(proteins, [[]])[EpochIndex(0, 0)]
    with pytest.raises(TypeError, match="Protein ids are text"):
        ESMMaskedResidueDataset(proteins, [[7]])[EpochIndex(0, 0)]
    with sqlite3.connect(files / "proteins.db") as connection:
        connection.execute("INSERT INTO protein VALUES ('bad', 'MKJ')")
    connection.close()
    with pytest.raises(DataError, match="protein 'bad': Character 'J' at position 3"):
        ESMMaskedResidueDataset(proteins, [["bad"]])[EpochIndex(0, 0)]


def test_train_and_valid_sets(files):
    train = create_train_dataset(files / "train.parquet", files / "proteins.db", total_samples=7, seed=1)
    assert len(train) == 7
    assert sorted(int(i) for i in train.indices(0, 3)[1]) == [0, 1, 2]
    clusters = create_valid_clusters(files / "valid.parquet")
    assert clusters[3] == ["UniRef90_03"]
    valid = create_valid_dataset(clusters, files / "proteins.db", seed=1)
    assert len(valid) == 12
    assert sorted(len(valid[i]["text"]) for i in range(12)) == sorted(len(s) + 2 for s in SEQUENCES.values())


def test_missing_and_wrong_files(files):
    with pytest.raises(ValueError, match=r"Database file .*none\.db not found"):
        ProteinSQLiteDataset(files / "none.db")
    with pytest.raises(ValueError, match=r"Cluster file .*none\.parquet not found"):
        create_valid_clusters(files / "none.parquet")
    with pytest.raises(ValueError, match=r"Training cluster file must contain a column 'ur90_id': .*\['ur50_id'\]"):
        create_train_dataset(files / "valid.parquet", files / "proteins.db", 1, 0)
    with pytest.raises(ValueError, match="Validation cluster file must contain a column 'ur50_id'"):
        create_valid_clusters(files / "train.parquet")
    with pytest.raises(FormatError, match="is not a readable SQLite file"):
        ProteinSQLiteDataset(files / "train.parquet")
    with pytest.raises(FormatError, match="is not a readable parquet file"):
        create_valid_clusters(files / "proteins.db")
    sqlite3.connect(files / "empty.db").execute("CREATE TABLE other (x)").connection.close()
    with pytest.raises(FormatError, match=r"expected a table protein\(id, sequence\), found the columns \[\]"):
        ProteinSQLiteDataset(files / "empty.db")
    pq.write_table(pa.table({"ur90_id": [["a"], []]}), files / "hole.parquet")
    with pytest.raises(ValueError, match="Cluster 1 is empty"):
        create_train_dataset(files / "hole.parquet", files / "proteins.db", 1, 0)


def test_the_database_feeds_packed_batches_too(files):
    clusters = create_valid_clusters(files / "valid.parquet")
    source = SQLiteSequenceSource(ProteinSQLiteDataset(files / "proteins.db"), clusters)
    assert len(source) == 12
    assert source.id(4) == "UniRef90_04"
    idxs = np.array([4, 0])
    np.testing.assert_array_equal(source.lengths_of(idxs), [len(SEQUENCES[source.id(int(i))]) + 2 for i in idxs])
    np.testing.assert_array_equal(
        source.gather(idxs, starts=np.array([1, 0]), lengths=np.array([3, 5])), [20, 15, 11, 0, 20, 15, 11, 2]
    )
    with pytest.raises(DataError, match="tokens 0 to 99 of protein 'UniRef90_00'"):
        source.gather(np.array([0]), lengths=np.array([99]))
    dataset = PackedProteinDataset(
        source,
        clusters=clusters.clusters,
        seed=1,
        max_seq_length=20,
        max_tokens=64,
        masking=build_masking(seed=1),
    )
    lengths = dataset.token_lengths(0, np.arange(12))
    assert lengths.tolist() == [min(len(sequence) + 2, 20) for sequence in SEQUENCES.values()]


class _Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.batches = []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        self.batches.append(batch["text"])
        return (self.weight * batch["text"].float().mean()).sum()

    def validation_step(self, batch):
        assert batch["text"].shape[0] == 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _fit(files, max_steps, state=None, **options):
    data = ESMDataModule(
        files / "train.parquet",
        files / "proteins.db",
        files / "valid.parquet",
        files / "proteins.db",
        micro_batch_size=2,
        global_batch_size=2,
        num_workers=0,
        max_seq_length=16,
    )
    if state is not None:
        data.load_state_dict(state)
    trainer = pl.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=options.get("limit_val_batches", 1),
    )
    module = _Recorder()
    trainer.fit(module, datamodule=data)
    return module, data


def test_the_data_module_trains_and_resumes(files):
    module, data = _fit(files, 5)
    assert len(module.batches) == 5
    assert all(batch.shape[0] == 2 and batch.shape[1] <= 16 for batch in module.batches)
    assert data.state_dict() == {"consumed_samples": 10}
    assert data.val_dataloader() is not None
    part, _ = _fit(files, 5, state={"consumed_samples": 6}, limit_val_batches=0)
    for ours, theirs in zip(part.batches, module.batches[3:], strict=False):
        assert torch.equal(ours, theirs)
    with pytest.raises(NotImplementedError, match="no test set"):
        data.test_dataloader()


def test_the_data_module_needs_a_trainer_with_steps(files):
    data = ESMDataModule(*[files / "train.parquet"] * 4)
    with pytest.raises(RuntimeError, match="Setup should be completed when trainer"):
        data.setup()
    with pytest.raises(RuntimeError, match=r"Please specify trainer\.max_steps"):
        _fit(files, -1)


def _database(tmp_path, rows):
    with sqlite3.connect(tmp_path / "proteins.db") as connection:
        connection.execute("CREATE TABLE protein (id TEXT PRIMARY KEY, sequence)")
        connection.executemany("INSERT INTO protein VALUES (?, ?)", rows)
    connection.close()
    pq.write_table(pa.table({"ur50_id": [name for name, _ in rows]}), tmp_path / "valid.parquet")
    return ProteinSQLiteDataset(tmp_path / "proteins.db"), create_valid_clusters(tmp_path / "valid.parquet")


def test_databases_follow_the_rules_of_fasta_files(tmp_path):
    proteins, clusters = _database(tmp_path, [("soft", "mkTA"), ("stop", "MK*"), ("plain", "MKTA")])
    source = SQLiteSequenceSource(proteins, clusters)
    assert source.lengths_of(np.arange(3)).tolist() == [6, 4, 6]
    assert source.gather(np.arange(3)).tolist() == [0, 20, 15, 11, 5, 2, 0, 20, 15, 2, 0, 20, 15, 11, 5, 2]
    dataset = ESMMaskedResidueDataset(proteins, [["soft"], ["stop"]], mask_prob=0.0)
    assert dataset[EpochIndex(0, 0)]["text"].tolist() == [0, 20, 15, 11, 5, 2]
    assert dataset[EpochIndex(0, 1)]["text"].tolist() == [0, 20, 15, 2]


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        (None, "protein 'bad' has no residues: its sequence is NULL, empty"),
        ("", "protein 'bad' has no residues"),
        ("*", "protein 'bad' has no residues"),
        ("MK T", "protein 'bad': Character ' ' at position 3"),
        ("MK1", "protein 'bad': Character '1' at position 3"),
        ("M*K", r"protein 'bad': Character '\*' at position 2 .* or choose --illegal unk"),
        (b"MK", "protein 'bad': the sequence is bytes, expected text"),
    ],
)
def test_bad_rows_of_a_database_are_one_line(tmp_path, sequence, message):
    proteins, clusters = _database(tmp_path, [("good", "MKTA"), ("bad", sequence)])
    source = SQLiteSequenceSource(proteins, clusters)
    packed = PackedProteinDataset(source, seed=1, max_seq_length=16, max_tokens=64, masking=None)
    with pytest.raises(DataError, match=message) as caught:
        packed.read_records(0, np.arange(2))
    assert str(caught.value).startswith(str(tmp_path / "proteins.db"))
    with pytest.raises(DataError, match=message):
        ESMMaskedResidueDataset(proteins, [["bad"]])[EpochIndex(0, 0)]


def test_letters_of_a_database_may_be_read_as_unk(tmp_path):
    proteins, clusters = _database(tmp_path, [("a", "MJ-k*K"), ("b", "M1")])
    source = SQLiteSequenceSource(proteins, clusters, on_illegal="unk")
    assert source.gather(np.array([0])).tolist() == [0, 20, 3, 3, 15, 3, 15, 2]
    with pytest.raises(DataError, match="protein 'b': Character '1' at position 2"):
        source.gather(np.array([1]))
