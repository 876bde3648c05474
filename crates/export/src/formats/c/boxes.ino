// Finds objects in a picture of the network's size: fill it from a camera, or from flash.
#include <{{HEADER}}.h>

static uint8_t picture[{{PREFIX}}_HEIGHT * {{PREFIX}}_WIDTH * 3];
static {{NAME}}_object objects[{{PREFIX}}_MOST_OBJECTS];

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long start = micros();
  const int count = {{NAME}}_detect(picture, {{PREFIX}}_WIDTH, {{PREFIX}}_HEIGHT, {{PREFIX}}_AT_LEAST, objects,
                                    {{PREFIX}}_MOST_OBJECTS);
  const unsigned long took = micros() - start;
  for (int i = 0; i < count; i++) {
    Serial.print({{NAME}}_labels[objects[i].label]);
    Serial.print(' ');
    Serial.print(objects[i].score, 4);
    Serial.print(" at ");
    Serial.print((objects[i].left + objects[i].right) / 2, 3);
    Serial.print(", ");
    Serial.println((objects[i].top + objects[i].bottom) / 2, 3);
  }
  Serial.print(took);
  Serial.println(" microseconds");
  delay(1000);
}
