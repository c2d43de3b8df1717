/*
 * lean: walks the objects that the linker has loaded. Segments that may not be written are as the
 * file has them: what the linker writes to once and then protects lies in the others.
 */
#include "lean.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool is_code_written(const struct dl_phdr_info *object)
{
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &object->dlpi_phdr[i];
		const ElfW(Dyn) * entry;

		if (header->p_type != PT_DYNAMIC)
			continue;
		entry = (const ElfW(Dyn) *)(object->dlpi_addr + header->p_vaddr);
		for (; entry->d_tag != DT_NULL; entry++)
			if (entry->d_tag == DT_TEXTREL ||
			    (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL)))
				return true;
	}
	return false;
}

static int drop(struct dl_phdr_info *object, size_t size, void *data)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t *bytes = data;

	(void)size;
	/* The vDSO is the kernel's own, not a file's. */
	if (strncmp(object->dlpi_name, "linux-vdso", strlen("linux-vdso")) == 0 ||
	    is_code_written(object))
		return 0;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &object->dlpi_phdr[i];
		uintptr_t start = object->dlpi_addr + header->p_vaddr;
		uintptr_t end = (start + header->p_memsz + page - 1) & ~(page - 1);

		if (header->p_type != PT_LOAD || (header->p_flags & PF_W))
			continue;
		start &= ~(page - 1);
		/* Fails where memory is locked: then it stays. */
		if (madvise((void *)start, end - start, MADV_DONTNEED) == 0)
			*bytes += end - start;
	}
	return 0;
}

size_t lean_drop_code(void)
{
	size_t bytes = 0;

	(void)dl_iterate_phdr(drop, &bytes);
	return bytes;
}

void lean_down(void)
{
	(void)lean_drop_code();
	(void)malloc_trim(0); /* says whether there was any */
}
