"""What a model call may cost, before it is made."""

from loopwright.calls import ModelCall, Quote
from loopwright.errors import BadInput
from loopwright.models import catalogue


def quoted(call: ModelCall, bound: int) -> Quote:
    """The lowest and the highest cost of `call`, given that its input has at most `bound` tokens.

    Unpriced, with the reason, if nobody knows the price: whether the model may be called all the
    same is for a `Budget` to say.
    """
    try:
        return catalogue.quote(call.model, bound, call.max_tokens, call.options)
    except BadInput as error:
        return Quote(tokens=bound + call.max_tokens, unpriced=str(error))
