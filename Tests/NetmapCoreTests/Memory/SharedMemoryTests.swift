import CLinux
import Glibc
import NetmapCore
import Testing

@Suite("Shared memory")
struct SharedMemoryTests {
  @Test("memory is whole pages of zeros, and a second mapping shows the same bytes")
  func attach() throws {
    let memory = try SharedMemory(creating: "test", byteCount: 5000)
    #expect(memory.byteCount == pageRounded(5000))
    #expect(memory.load(at: 4992, as: UInt64.self) == 0)
    let other = try SharedMemory(mapping: memory.descriptor)
    #expect(unsafe other.base != memory.base)
    #expect(other.byteCount == memory.byteCount)
    memory.store(UInt64(42), at: 16)
    #expect(other.load(at: 16, as: UInt64.self) == 42)
  }

  @Test("memory outlives the object that made it, as long as it is mapped")
  func lifetime() throws {
    var memory: SharedMemory? = try SharedMemory(creating: "test", byteCount: 1)
    memory?.store(UInt32(7), at: 0)
    let other = try SharedMemory(mapping: #require(memory).descriptor)
    memory = nil
    #expect(other.load(at: 0, as: UInt32.self) == 7)
  }

  @Test(
    "an access up to 64 KiB before or behind a mapping ends the process",
    arguments: [-65_536, -1, 0, 65_535])
  func guards(distance: Int) async {
    await #expect(processExitsWith: .signal(SIGSEGV)) { [distance] in
      let memory = try SharedMemory(creating: "test", byteCount: pageSize)
      let others = try (0..<8).map { _ in try SharedMemory(creating: "test", byteCount: pageSize) }
      let offset = distance < 0 ? distance : memory.byteCount + distance
      _ = unsafe (memory.base + offset).load(as: UInt8.self)
      withExtendedLifetime(others) {}
    }
  }

  @Test("an invalid descriptor cannot be mapped")
  func badDescriptor() {
    let error = #expect(throws: NetmapError.self) { try SharedMemory(mapping: -1) }
    #expect(error?.code == .badDescriptor)
    #expect(error?.description.contains("descriptor -1") == true)
  }

  @Test("memory that could shrink while it is mapped is refused")
  func unsealed() throws {
    let file = unsafe memfd_create(
      "test", UInt32(CLINUX_MFD_CLOEXEC | CLINUX_MFD_ALLOW_SEALING))
    defer { close(file) }
    try #require(ftruncate(file, 8192) == 0)
    let error = #expect(throws: NetmapError.self) { try SharedMemory(mapping: file) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason.contains("F_SEAL_SHRINK") == true)
    try #require(fcntl(file, CInt(CLINUX_F_ADD_SEALS), CInt(CLINUX_F_SEAL_SHRINK)) == 0)
    #expect(try SharedMemory(mapping: file).byteCount == 8192)
    // A folder has no seals at all.
    let folder = unsafe open("/", O_RDONLY)
    defer { close(folder) }
    #expect(throws: NetmapError.self) { try SharedMemory(mapping: folder) }
  }

  @Test("mappings of the same memory have the same identity, others do not")
  func identity() throws {
    let memory = try SharedMemory(creating: "test", byteCount: 1)
    let other = try SharedMemory(creating: "test", byteCount: 1)
    #expect(try SharedMemory(mapping: memory.descriptor).identity == memory.identity)
    #expect(memory.identity != other.identity)
  }

  @Test("a sync segment of another layout is refused")
  func otherLayout() throws {
    let short = try SharedMemory(creating: "test", byteCount: 1)
    #expect(throws: NetmapError.self) { try SyncSegment(mapping: short) }
    let zero = try SharedMemory(creating: "test", byteCount: 1 << 20)
    let error = #expect(throws: NetmapError.self) { try SyncSegment(mapping: zero) }
    #expect(error?.code == .invalidArgument)
    #expect(error?.reason == "it is not a sync segment")
    #expect(throws: NetmapError.self) { try Directory(mapping: zero) }
  }
}
