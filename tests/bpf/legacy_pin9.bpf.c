/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* iproute2's dialect, pinning value 9. */
#define PINNING 9
#include "legacy_pin.h"
