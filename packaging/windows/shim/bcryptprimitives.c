/* A library that Windows has had since version 8 and Wine 8 lacks: the `cryptography` package asks it for randomness.
 * In the tests' copy of system32 and nowhere else: the packaged agent does not carry it, Windows has the real one.
 * Build: x86_64-w64-mingw32-gcc -shared bcryptprimitives.c bcryptprimitives.def -ladvapi32
 */
#include <windows.h>

BOOLEAN WINAPI SystemFunction036(PVOID buffer, ULONG length); /* RtlGenRandom */

BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    while (length) {
        ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(data, part)) return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}
