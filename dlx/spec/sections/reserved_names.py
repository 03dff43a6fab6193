"""Names of attributes of torch's modules, which no node and no network can have."""

_WORDS = (
    "add_module add_submodule apply bfloat16 buffers call_super_init children compile cpu cuda "
    "delete_all_unused_submodules delete_submodule double dump_patches eval extra_repr float forward get_buffer "
    "get_extra_state get_parameter get_submodule half ipu load_state_dict meta modules mtia named_buffers "
    "named_children named_modules named_parameters parameters register_backward_hook register_buffer "
    "register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook "
    "register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter "
    "register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ self set_extra_state set_submodule "
    "shape_env share_memory state_dict to to_empty to_folder train training type xpu zero_grad T_destination code "
    "graph print_readable recompile"
)
OF_MODULES = frozenset(_WORDS.split())
"""Attributes of `nn.Module` and `fx.GraphModule`, which a submodule of that name would hide."""
OF_DICTIONARIES = frozenset(["clear", "items", "keys", "pop", "update", "values"])
"""Further attributes of `torch.nn.ModuleDict`."""
