"""The report of a benchmark: tables, files and plots."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

from ppcls.benchmark.pictures import latency_scatter
from ppcls.benchmark.results import Row, describe_machine
from ppcls.files import replacing
from ppcls.printable import printable

__all__ = ["Measured"]


class Measured(NamedTuple):
    """All measurements, and the combinations that could not be measured."""

    rows: list[Row]
    left_out: list[str]

    def markdown(self) -> str:
        """Return a table in the published format: latency in ms by batch size."""
        sizes = sorted({row.batch_size for row in self.rows})
        heads = ["model", "params (M)", "FLOPs (G)", "backend"]
        heads += [f"{what}, batch {size} (ms)" for size in sizes for what in ("median", "p95")]
        lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for key, times in self._by_run().items():
            model, params, flops, backend = key
            cells = [model, f"{params:.2f}", f"{flops:.3f}", backend]
            for size in sizes:
                row = times.get(size)
                cells += [f"{row.median_ms:.2f}", f"{row.p95_ms:.2f}"] if row else ["", ""]
            lines.append(f"| {' | '.join(map(printable, cells))} |")
        lines += ["", "FLOPs are multiply-accumulates for one image."]
        lines += [printable(f"Not measured: {text}.") for text in self.left_out]
        machine = describe_machine()
        cpu = f"{machine.pop('cpu')}, {machine.pop('cores')} cores"
        lines.append(f"Machine: {cpu}, {', '.join(f'{k} {v}' for k, v in machine.items())}.")
        return "\n\n".join(["\n".join(lines[:-1]).strip(), lines[-1]]) + "\n"

    def _by_run(self) -> dict[tuple[str, float, float, str], dict[int, Row]]:
        found: dict[tuple[str, float, float, str], dict[int, Row]] = {}
        for row in self.rows:
            threads = f", {row.threads} threads" if row.threads else ""
            how = f"{row.backend} {row.version}, {row.device} {row.precision}{threads}"
            key = (row.model, row.params_m, row.flops_g, how)
            found.setdefault(key, {})[row.batch_size] = row
        return found

    def json(self) -> str:
        """Return the machine, the rows and the combinations left out as a JSON object."""
        rows = [asdict(row) for row in self.rows]
        found = {"machine": describe_machine(), "rows": rows, "not_measured": self.left_out}
        return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

    def csv(self) -> str:
        """Return the rows as a table with a header line."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write `benchmark.md`, `.csv` and `.json`, and plots of latency by FLOPs and parameters.

        Raises:
            RunError: the folder cannot be written to.
        """
        written = []
        for kind, text in (("md", self.markdown()), ("csv", self.csv()), ("json", self.json())):
            written.append(folder / f"benchmark.{kind}")
            with replacing(written[-1]) as file:
                file.write_text(text, encoding="utf-8")
        for key, label in (("flops_g", "FLOPs (G)"), ("params_m", "parameters (M)")):
            written.append(folder / f"latency_{key.partition('_')[0]}.png")
            latency_scatter(self.rows, key, label, written[-1])
        return written
