/** Arrow tables to Parquet and back. Fixed-size lists, dictionaries and schema metadata survive: the file carries the Arrow schema. */

import { type Table, tableFromIPC, tableToIPC } from "apache-arrow";
import { MoescopeError } from "../errors.js";

/** Rows per row group: what a reader of one column of one group has to hold, some 16 MB at 64 logits a row. */
const ROW_GROUP_ROWS = 65536;

/** The bytes of a Parquet file with the table's rows and metadata, compressed with zstd. Schema metadata is also the file's. */
export async function tableToParquet(table: Table): Promise<Uint8Array> {
  // Loaded on first use: the module brings 5 MB of WebAssembly that most commands do not need.
  const parquet = await import("parquet-wasm");
  const properties = new parquet.WriterPropertiesBuilder()
    .setCompression(parquet.Compression.ZSTD)
    .setMaxRowGroupSize(ROW_GROUP_ROWS)
    .setKeyValueMetadata(table.schema.metadata)
    .setCreatedBy("moescope")
    .build();
  return parquet.writeParquet(parquet.Table.fromIPCStream(tableToIPC(table, "stream")), properties);
}

/** The table of a Parquet file. Throws BAD_FILE where the bytes are not one; `name` says which file they come from. */
export async function tableFromParquet(bytes: Uint8Array, name: string): Promise<Table> {
  const parquet = await import("parquet-wasm");
  try {
    return tableFromIPC(parquet.readParquet(bytes).intoIPCStream());
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MoescopeError("BAD_FILE", `Could not read ${name} as Parquet: ${reason}.`, { cause });
  }
}
