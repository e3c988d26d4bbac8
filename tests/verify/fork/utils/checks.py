"""What imports the framework of this fork."""


def check_tensor(array):
    from torch import Tensor

    if not isinstance(array, Tensor):
        raise TypeError(f"expected a torch.Tensor, got {type(array)}")
