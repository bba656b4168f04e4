"""Reads a trace folder with pandas, DuckDB and Polars, and prints what each of them found as JSON."""

import glob
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


# Sums of the lists of level hidden, and the number of norms of experts that did not run.
LISTS = ("router_input", "residual")


def hidden_of_pandas():
    # The folder of `trace` has other files as well.
    table = pandas.read_parquet(sorted(glob.glob(pattern)))
    sums = {name: float(sum(row.astype("float64").sum() for row in table[name])) for name in LISTS}
    norms = table.expert_norms.explode().astype("float64")
    return {**sums, "expert_norms": float(norms.sum()), "not_run": int(norms.isna().sum()), "rows": len(table)}


def hidden_of_duckdb():
    trace = f"read_parquet('{pattern}')"
    one = lambda sql: duckdb.sql(sql).fetchall()[0][0]
    sums = {name: one(f"SELECT sum(v) FROM (SELECT unnest({name})::DOUBLE AS v FROM {trace})") for name in LISTS}
    norms = f"(SELECT unnest(expert_norms)::DOUBLE AS v FROM {trace})"
    return {
        **sums,
        "expert_norms": one(f"SELECT sum(v) FROM {norms} WHERE NOT isnan(v)"),
        "not_run": one(f"SELECT count(*) FROM {norms} WHERE isnan(v)"),
        "rows": one(f"SELECT count(*) FROM {trace}"),
    }


def hidden_of_polars():
    table = polars.read_parquet(pattern)
    sums = {name: table.explode(name)[name].cast(polars.Float64).sum() for name in LISTS}
    norms = table.explode("expert_norms")["expert_norms"].cast(polars.Float64)
    not_run = norms.is_nan()
    return {**sums, "expert_norms": norms.filter(~not_run).sum(), "not_run": int(not_run.sum()), "rows": table.height}


if len(sys.argv) > 2 and sys.argv[2] == "hidden":
    found = {"pandas": hidden_of_pandas(), "duckdb": hidden_of_duckdb(), "polars": hidden_of_polars()}
else:
    found = {"pandas": of_pandas(), "duckdb": of_duckdb(), "polars": of_polars()}
print(json.dumps(found))
