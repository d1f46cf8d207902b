// A picture leads to itself alone, where a phone can show it as large as it is.
for (const image of document.querySelectorAll('article p > img')) {
  const link = document.createElement('a');
  link.href = image.src;
  image.replaceWith(link);
  link.append(image);
}
