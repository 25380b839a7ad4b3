/*
 * CRC-32 (that of zlib, IEEE 802.3) of large pieces of memory, 256 bytes at a time, on x86-64 processors that multiply
 * polynomials in registers of 512 bits. Several times as fast as zlib's, which is a good part of what a page costs on
 * its way.
 *
 * The method is Intel's ("Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", 2009), in wider
 * registers: what was read is folded forward onto what comes, until 16 bytes are left with the same remainder as all
 * before them; the rest goes byte by byte. Bits are reflected, so that of each 16 bytes the lower half comes first.
 */
#ifndef DRAYAGE_CRC32_H
#define DRAYAGE_CRC32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>

#define CRC_POLYNOMIAL 0x04c11db7u
#define CRC_WIDE __attribute__((target("avx512f,avx512vl,vpclmulqdq,pclmul")))
/* Four registers of four times 16 bytes. */
enum { CRC_BLOCK = 256, CRC_LANES = 4, CRC_FOLDED = 16 };

static struct {
	uint32_t bytes[256];
	/* Factors by which 16 bytes are folded forward, by the distance in 16 bytes: of the lower half, of the higher. */
	uint64_t factors[CRC_BLOCK / CRC_FOLDED + 1][2];
} crc;

static uint32_t crc_reflected(uint32_t bits)
{
	uint32_t result = 0;

	for (int bit = 0; bit < 32; bit++)
		result |= (bits >> bit & 1) << (31 - bit);
	return result;
}

/* x to this power, modulo the polynomial, as the multiplication of reflected bits wants it. */
static uint64_t crc_power(unsigned exponent)
{
	uint32_t power = 1;

	while (exponent-- > 0)
		power = power << 1 ^ (power >> 31 ? CRC_POLYNOMIAL : 0);
	return (uint64_t)crc_reflected(power) << 1;
}

/* Before anything else. */
static void crc_prepare(void)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		uint32_t rest = byte;

		for (int bit = 0; bit < 8; bit++)
			rest = rest >> 1 ^ (rest & 1 ? crc_reflected(CRC_POLYNOMIAL) : 0);
		crc.bytes[byte] = rest;
	}
	for (unsigned distance = 1; distance <= CRC_BLOCK / CRC_FOLDED; distance++) {
		crc.factors[distance][0] = crc_power(128 * distance + 32);
		crc.factors[distance][1] = crc_power(128 * distance - 32);
	}
}

static bool crc_is_fast(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("vpclmulqdq");
}

CRC_WIDE static __m512i crc_factor(unsigned distance)
{
	uint64_t low = crc.factors[distance][0], high = crc.factors[distance][1];

	return _mm512_set_epi64(high, low, high, low, high, low, high, low);
}

/* Each lane of `first`, as far forward as the factors say, on top of `next`. */
CRC_WIDE static __m512i crc_fold(__m512i first, __m512i factors, __m512i next)
{
	__m512i low = _mm512_clmulepi64_epi128(first, factors, 0x00);
	__m512i high = _mm512_clmulepi64_epi128(first, factors, 0x11);

	return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

/* Of at least one block; `rest` is not inverted, neither on its way in nor out. */
CRC_WIDE static uint32_t crc_of_blocks(const uint8_t *at, size_t blocks, uint32_t rest)
{
	__m512i folded[CRC_LANES], factors = crc_factor(CRC_BLOCK / CRC_FOLDED);
	uint64_t lanes[8], left[2];
	uint8_t bytes[CRC_FOLDED];

	for (int i = 0; i < CRC_LANES; i++)
		folded[i] = _mm512_loadu_si512(at + 64 * i);
	folded[0] = _mm512_xor_si512(folded[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)rest)));
	for (size_t block = 1; block < blocks; block++) {
		at += CRC_BLOCK;
		for (int i = 0; i < CRC_LANES; i++)
			folded[i] = crc_fold(folded[i], factors, _mm512_loadu_si512(at + 64 * i));
	}
	for (int i = 0; i < CRC_LANES - 1; i++)
		folded[3] = crc_fold(folded[i], crc_factor(4 * (3 - i)), folded[3]);
	/* The four lanes of what is left, onto the last. */
	_mm512_storeu_si512(lanes, folded[3]);
	__m128i last = _mm_set_epi64x((long long)lanes[7], (long long)lanes[6]);
	for (int lane = 0; lane < 3; lane++) {
		__m128i first = _mm_set_epi64x((long long)lanes[2 * lane + 1], (long long)lanes[2 * lane]);
		__m128i by = _mm_set_epi64x((long long)crc.factors[3 - lane][1], (long long)crc.factors[3 - lane][0]);

		last = _mm_xor_si128(last, _mm_clmulepi64_si128(first, by, 0x00));
		last = _mm_xor_si128(last, _mm_clmulepi64_si128(first, by, 0x11));
	}
	_mm_storeu_si128((__m128i *)left, last);
	memcpy(bytes, left, sizeof(bytes));
	rest = 0;
	for (int i = 0; i < CRC_FOLDED; i++)
		rest = rest >> 8 ^ crc.bytes[(rest ^ bytes[i]) & 0xff];
	return rest;
}

/* The CRC-32 of what came before (`seed`, 0 for nothing) and these bytes. Only if crc_is_fast(). */
static uint32_t crc_continued(const uint8_t *at, size_t length, uint32_t seed)
{
	uint32_t rest = ~seed;
	size_t blocks = length / CRC_BLOCK;

	if (blocks > 0)
		rest = crc_of_blocks(at, blocks, rest);
	for (size_t i = blocks * CRC_BLOCK; i < length; i++)
		rest = rest >> 8 ^ crc.bytes[(rest ^ at[i]) & 0xff];
	return ~rest;
}

#else

static void crc_prepare(void)
{
}

static bool crc_is_fast(void)
{
	return false;
}

static uint32_t crc_continued(const uint8_t *at, size_t length, uint32_t seed)
{
	(void)at, (void)length;
	return seed;
}

#endif
#endif
