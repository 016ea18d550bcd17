/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* iproute2's dialect, pinning value 0. */
#define PINNING 0
#include "legacy_pin.h"
