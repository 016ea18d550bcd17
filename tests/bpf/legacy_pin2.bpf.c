/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* iproute2's dialect, pinning value 2. */
#define PINNING 2
#include "legacy_pin.h"
