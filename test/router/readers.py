"""Reads a trace folder with pandas, DuckDB and Polars, and prints what each of them found as JSON."""

import json
import sys

import duckdb
import pandas
import polars

folder = sys.argv[1]
pattern = f"{folder}/part-*.parquet"


def of_pandas():
    table = pandas.read_parquet(folder)
    experts = table[table.layer == table.layer.max()].topk_experts.explode().astype(int)
    return {
        "rows": len(table),
        "dtypes": {name: str(table[name].dtype) for name in ("position", "layer", "token_id", "margin", "computed")},
        "counts": experts.value_counts().sort_index().to_dict(),
        "weights": float(table.topk_weights.explode().astype("float64").sum()),
        "logits": float(sum(row.astype("float64").sum() for row in table.router_logits)),
        "origins": sorted(table.origin.astype(str).unique()),
        "samples": sorted(table.sample_id.dropna().astype(str).unique()),
    }


def of_duckdb():
    trace = f"read_parquet('{pattern}')"
    one = lambda sql: duckdb.sql(sql).fetchall()[0][0]
    return {
        "rows": one(f"SELECT count(*) FROM {trace}"),
        "counts": dict(
            duckdb.sql(
                f"""SELECT expert, count(*) FROM (SELECT unnest(topk_experts) AS expert FROM {trace}
                    WHERE layer = (SELECT max(layer) FROM {trace})) GROUP BY expert ORDER BY expert"""
            ).fetchall()
        ),
        "weights": one(f"SELECT sum(w) FROM (SELECT unnest(topk_weights)::DOUBLE AS w FROM {trace})"),
        "logits": one(f"SELECT sum(z) FROM (SELECT unnest(router_logits)::DOUBLE AS z FROM {trace})"),
        "origins": [row[0] for row in duckdb.sql(f"SELECT DISTINCT origin FROM {trace} ORDER BY 1").fetchall()],
        "samples": [
            row[0]
            for row in duckdb.sql(f"SELECT DISTINCT sample_id FROM {trace} WHERE sample_id IS NOT NULL ORDER BY 1").fetchall()
        ],
        "model": one(
            f"SELECT DISTINCT decode(value) FROM parquet_kv_metadata('{pattern}') WHERE decode(key) = 'moescope.model'"
        ),
    }


def of_polars():
    table = polars.read_parquet(pattern)
    last = table.filter(polars.col("layer") == polars.col("layer").max())
    counts = last.explode("topk_experts").group_by("topk_experts").len().sort("topk_experts")
    return {
        "rows": table.height,
        "counts": dict(counts.iter_rows()),
        "weights": table.explode("topk_weights")["topk_weights"].cast(polars.Float64).sum(),
        "logits": table.explode("router_logits")["router_logits"].cast(polars.Float64).sum(),
        "origins": sorted(table["origin"].cast(polars.String).unique()),
        "samples": sorted(table["sample_id"].cast(polars.String).drop_nulls().unique()),
    }


print(json.dumps({"pandas": of_pandas(), "duckdb": of_duckdb(), "polars": of_polars()}))
