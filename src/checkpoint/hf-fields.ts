import type { Architecture } from "./model-config.js";

/**
 * Fields of config.json that change nothing that is computed: names, training, what transformers does around the model,
 * defaults of generation that generation_config.json repeats. A field that is neither read nor listed here is refused unless it
 * is null, false or empty: a config that asks for something unknown is not approximated. Names that begin with "_" are
 * transformers' own bookkeeping and pass too.
 */
export const HARMLESS_FIELDS: ReadonlySet<string> = new Set(
  `
  architectures auto_map dtype torch_dtype transformers_version unsloth_fixed unsloth_version is_llama_config
  transformers.js_config name_or_path license
  attention_dropout embd_pdrop resid_pdrop hidden_dropout initializer_range router_aux_loss_coef router_jitter_noise
  pretraining_tp gradient_checkpointing
  output_router_logits output_attentions output_hidden_states return_dict use_cache attn_implementation torchscript
  use_bfloat16 chunk_size_feed_forward max_window_layers model_max_length
  pad_token_id sep_token_id unk_token_id decoder_start_token_id tokenizer_class prefix
  id2label label2id num_labels problem_type task_specific_params finetuning_task
  max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
  typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
  num_return_sequences forced_bos_token_id forced_eos_token_id suppress_tokens begin_suppress_tokens
  remove_invalid_values exponential_decay_length_penalty
  `
    .trim()
    .split(/\s+/),
);

/** What the config classes of transformers 5 take where a field is absent. */
export interface ConfigDefaults {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numAttentionHeads: number;
  /** Undefined: as many as attention heads. */
  numKeyValueHeads: number | undefined;
  maxPositionEmbeddings: number;
  rmsNormEps: number;
  ropeTheta: number;
  bosTokenId: number | undefined;
  eosTokenIds: number[];
}

/** Source: `configuration_*.py` of transformers 5. */
export const DEFAULTS: Readonly<Record<Architecture, ConfigDefaults>> = {
  qwen2_moe: {
    vocabSize: 151936,
    hiddenSize: 2048,
    intermediateSize: 5632,
    numLayers: 24,
    numAttentionHeads: 16,
    numKeyValueHeads: 16,
    maxPositionEmbeddings: 32768,
    rmsNormEps: 1e-6,
    ropeTheta: 10000,
    bosTokenId: undefined,
    eosTokenIds: [],
  },
  mixtral: {
    vocabSize: 32000,
    hiddenSize: 4096,
    intermediateSize: 14336,
    numLayers: 32,
    numAttentionHeads: 32,
    numKeyValueHeads: 8,
    maxPositionEmbeddings: 131072,
    rmsNormEps: 1e-5,
    ropeTheta: 1e6,
    bosTokenId: 1,
    eosTokenIds: [2],
  },
  llama: {
    vocabSize: 32000,
    hiddenSize: 4096,
    intermediateSize: 11008,
    numLayers: 32,
    numAttentionHeads: 32,
    numKeyValueHeads: undefined,
    maxPositionEmbeddings: 2048,
    rmsNormEps: 1e-6,
    ropeTheta: 10000,
    bosTokenId: 1,
    eosTokenIds: [2],
  },
  qwen2: {
    vocabSize: 151936,
    hiddenSize: 4096,
    intermediateSize: 22016,
    numLayers: 32,
    numAttentionHeads: 32,
    numKeyValueHeads: 32,
    maxPositionEmbeddings: 32768,
    rmsNormEps: 1e-6,
    ropeTheta: 10000,
    bosTokenId: undefined,
    eosTokenIds: [],
  },
};
