/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* iproute2's dialect, pinning value 1. */
#define PINNING 1
#include "legacy_pin.h"
