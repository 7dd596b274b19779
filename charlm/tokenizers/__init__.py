"""Tokenizers: what one symbol is. Each is one small object; no other code depends on which one it is.

char    a Unicode code point; the text is decoded
byte    a byte; the text is taken as it is
word    a word, or a character between words; the text is decoded
"""

from charlm.tokenizers.base import Tokenizer
from charlm.tokenizers.byte import ByteTokenizer
from charlm.tokenizers.char import CharTokenizer
from charlm.tokenizers.word import WordTokenizer

TOKENIZERS: dict[str, Tokenizer] = {
    tokenizer.name: tokenizer for tokenizer in (CharTokenizer(), ByteTokenizer(), WordTokenizer())
}
"""Every tokenizer, by the word of `--unit`."""
